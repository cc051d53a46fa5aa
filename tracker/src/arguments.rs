//! The command line of `ringseed-tracker`, with its environment variables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ringseed_tracker::{Endpoint, TrackerConfig};

/// HTTP and UDP BitTorrent tracker
#[derive(Debug, Parser)]
#[command(name = "ringseed-tracker", version, about)]
pub(crate) struct Arguments {
    /// Port for HTTP (TCP) and UDP; 0 takes free ones
    #[arg(long, env = "RINGSEED_TRACKER_PORT", default_value_t = 6969)]
    port: u16,

    /// Address to listen on; may be repeated [default: all, IPv6 and IPv4]
    #[arg(long = "host", visible_alias = "bind", env = "RINGSEED_TRACKER_HOST", value_delimiter = ',')]
    hosts: Vec<IpAddr>,

    /// Seconds between a peer's announces
    #[arg(long, env = "RINGSEED_TRACKER_INTERVAL", default_value_t = 1800, value_name = "SECONDS")]
    interval: u64,

    /// Serve HTTP only
    #[arg(long, env = "RINGSEED_TRACKER_NO_UDP", conflicts_with = "no_http")]
    no_udp: bool,

    /// Serve UDP only
    #[arg(long, env = "RINGSEED_TRACKER_NO_HTTP")]
    no_http: bool,

    /// Log every connection and what is wrong with requests
    #[arg(long, env = "RINGSEED_TRACKER_DEBUG")]
    pub(crate) debug: bool,

    /// How the ready line and the log on standard error are written
    #[arg(long, env = "RINGSEED_TRACKER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub(crate) log_format: LogFormat,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Arguments {
    /// Whether the addresses were left to us.
    pub(crate) fn listens_everywhere(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The configuration that listens on the given hosts, or on all addresses.
    pub(crate) fn config(&self) -> TrackerConfig {
        match self.listens_everywhere() {
            true => self.config_for(&[Ipv6Addr::UNSPECIFIED.into()]),
            false => self.config_for(&self.hosts),
        }
    }

    /// The configuration for a machine without IPv6.
    pub(crate) fn config_without_ipv6(&self) -> TrackerConfig {
        self.config_for(&[Ipv4Addr::UNSPECIFIED.into()])
    }

    fn config_for(&self, hosts: &[IpAddr]) -> TrackerConfig {
        let addresses = || hosts.iter().map(|&host| SocketAddr::new(host, self.port));
        let http = addresses().map(Endpoint::Http).filter(|_| !self.no_http);
        let udp = addresses().map(Endpoint::Udp).filter(|_| !self.no_udp);
        let config = TrackerConfig { more: http.chain(udp).collect(), ..TrackerConfig::default() };
        config.with_interval(Duration::from_secs(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["ringseed-tracker"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn all_addresses_and_the_usual_port_are_the_default() {
        let config = parse(&[]).unwrap().config();
        let any = "[::]:6969".parse().unwrap();
        assert_eq!(config.more, [Endpoint::Http(any), Endpoint::Udp(any)]);
        assert_eq!(config.interval, Duration::from_secs(1800));
    }

    #[test]
    fn hosts_repeat_and_transports_can_be_left_out() {
        let config =
            parse(&["--host", "127.0.0.1", "--bind", "::1", "--port", "0", "--no-udp"]).unwrap().config();
        let expected = ["127.0.0.1:0", "[::1]:0"].map(|text| Endpoint::Http(text.parse().unwrap()));
        assert_eq!(config.more, expected);
        assert!(parse(&["--no-udp", "--no-http"]).is_err());
        assert!(parse(&["--host", "not an address"]).is_err());
    }
}
