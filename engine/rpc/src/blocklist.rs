//! `blocklist-update`: fetches the blocklist, keeps it in the state directory, lets it hold.

use super::error::MethodError;
use super::methods::Outcome;
use super::server::Server;
use ringseed_announce::{FetchRequest, fetch};
use ringseed_handle::{Blocklist, BlocklistError, EngineHandle};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes that are fetched.
const FETCH_BYTES_MAX: usize = 64 << 20;

/// Where the list is kept.
fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("blocklist")
}

impl Server {
    pub(super) async fn blocklist_update(&self) -> Outcome {
        let url = self.handle.snapshot().settings.blocklist_url.clone();
        if url.is_empty() {
            return Err(MethodError::NoBlocklistUrl);
        }
        let request = FetchRequest {
            url: &url,
            cookies: None,
            local: self.info.fetch_local,
            route: &self.info.route,
            trust: &self.info.trust,
            bytes_max: FETCH_BYTES_MAX,
        };
        let bytes = fetch(&request).await.map_err(|error| MethodError::Fetch { url: url.clone(), error })?;
        let state_dir = self.info.state_dir.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let list = read(&bytes)?;
            if let Some(dir) = state_dir {
                keep(&file(&dir), &bytes).map_err(MethodError::BlocklistNotKept)?;
            }
            Ok::<_, MethodError>(list)
        });
        let list = kept.await??;
        let rules = list.rules();
        self.handle.set_blocklist(Arc::new(list)).await?;
        Ok(json!({"blocklist-size": rules}))
    }
}

/// Reads a list and says in the log what of it could not be read.
fn read(bytes: &[u8]) -> Result<Blocklist, BlocklistError> {
    let list = Blocklist::parse(bytes)?;
    let malformed = list.malformed();
    if malformed.lines > 0 {
        tracing::warn!(
            rules = list.rules(),
            malformed = malformed.lines,
            first_line = malformed.first,
            "lines of the blocklist are in no known format and were left out"
        );
    } else {
        tracing::info!(rules = list.rules(), "read the blocklist");
    }
    Ok(list)
}

/// Writes the file as a whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut out = std::fs::File::create(&new)?;
    out.write_all(bytes).and_then(|()| out.sync_all())?;
    std::fs::rename(&new, path)
}

/// Loads the list that is kept in a state directory, when there is one.
pub async fn load_blocklist(state_dir: PathBuf, handle: EngineHandle) {
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(file(&state_dir)).ok()?;
        read(&bytes).map_err(|error| tracing::error!(%error, "the kept blocklist cannot be used")).ok()
    });
    if let Ok(Some(list)) = read.await {
        let _ = handle.set_blocklist(Arc::new(list)).await;
    }
}
