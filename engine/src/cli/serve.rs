//! `serve`: the daemon. What it has to do is in its state directory and comes over the RPC.

use super::args::Serve;
use super::failure::{Failure, io_reason};
use super::screen;
use super::session::{ForegroundEngine, Watched, settings};
use super::signals::Stop;
use super::state_dir::{self, StateDir};
use crate::config::EngineConfig;
use crate::config_file::Settings;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where Transmission's daemon has its RPC, too, so that its tools find it.
const RPC_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

/// Runs the command.
pub fn run(args: &Serve) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let own = Settings {
        rpc: args.rpc,
        download_dir: args.download_dir.clone(),
        watch_dir: args.watch_dir.clone(),
        rpc_socket: args.rpc_socket.clone(),
        rpc_auth: args.rpc_auth.clone(),
        rpc_token_file: args.rpc_token_file.clone(),
        rpc_hosts: args.rpc_host.clone(),
        rpc_networks: args.rpc_network.clone(),
        rpc_proxies: args.rpc_proxy.clone(),
        rpc_tls_cert: args.rpc_tls_cert.clone(),
        rpc_tls_key: args.rpc_tls_key.clone(),
        rpc_fetch_local: args.rpc_fetch_local.then_some(true),
        rpc_create_dirs: args.rpc_create_dir.clone(),
        ..Settings::default()
    };
    let settings = own.over(settings(&args.engine, default_config_file().as_deref())?);
    let state = StateDir::open(&match &settings.state_dir {
        Some(path) => path.clone(),
        None => state_dir::root()?,
    })?;
    let chosen = settings.to_config();
    let download_dir = std::path::absolute(&chosen.download_dir).map_err(|error| {
        Failure::failed(format!("cannot use {}: {}", chosen.download_dir.display(), io_reason(&error)))
    })?;
    let create_dirs = chosen.rpc_create_dirs.iter().map(|dir| {
        std::path::absolute(dir)
            .map_err(|error| Failure::failed(format!("cannot use {}: {}", dir.display(), io_reason(&error))))
    });
    let rpc_create_dirs = create_dirs.collect::<Result<_, _>>()?;
    let rpc = chosen.rpc.unwrap_or(RPC_DEFAULT);
    let config = EngineConfig {
        state_dir: Some(state.path().to_owned()),
        download_dir,
        rpc_create_dirs,
        rpc: Some(rpc),
        ..chosen
    };
    let (tls, token_file) = (config.rpc_tls.is_some(), config.rpc_token_file.clone());
    // A daemon's progress is in its log and its metrics.
    let mut session = ForegroundEngine::start("serve", config, &stop, true)?;
    let rpc = session.rpc_address().unwrap_or(rpc);
    let scheme = if tls { "https" } else { "http" };
    screen::say(&format!("ringseed serve: RPC on {scheme}://{rpc}/transmission/rpc"));
    if !rpc.ip().is_loopback() {
        let token = token_file.unwrap_or_else(|| state.path().join(ringseed_rpc::TOKEN_FILE));
        screen::say(&format!("ringseed serve: clients elsewhere need the token in {}", token.display()));
    }
    let mut told = false;
    let watched = session.watch(|snapshot| {
        if snapshot.ready && !told {
            told = true;
            screen::say(&format!("ringseed serve: ready with {} torrents", snapshot.torrents.len()));
        }
        false
    });
    session.finish();
    if watched == Watched::EngineGone {
        screen::note("ringseed serve: stopped over the RPC");
    }
    Ok(())
}

/// `$XDG_CONFIG_HOME/ringseed/config.toml`, by default below `~/.config`.
fn default_config_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(base.join("ringseed/config.toml"))
}
