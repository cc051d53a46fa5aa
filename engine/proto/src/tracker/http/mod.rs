//! The HTTP tracker protocol: queries (BEP 3), answers (BEP 3, 7, 23, 24, 31) and scrapes (BEP 48).
//!
//! Everything is bytes to values and back; sending them is up to the caller. Of an answer all that can be used is taken,
//! and the rest is left out (`lenient`).

mod lenient;
mod query;
mod response;
mod scrape;

pub use query::{AnnounceQuery, QueryError, announce_url, parse_announce, parse_scrape, scrape_url};
pub use response::{
    PeerFormat, ResponseError, Retry, encode_announce, encode_failure, parse_announce_response,
};
pub use scrape::{ScrapeResponse, encode_scrape, parse_scrape_response};
