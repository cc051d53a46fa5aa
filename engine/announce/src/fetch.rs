//! Fetching files that a user names by URL: torrent files and blocklists, over the trackers' HTTP client.

use super::encoding::EncodingError;
use super::http::{Dialer, HttpClient, client, led_to_local, root};
use super::limits::{FETCH_TIMEOUT, REDIRECTS_MAX};
use super::names::Names;
use super::redirect::{self, RedirectError};
use super::trust::{CertificateProblem, Trust, certificate_problem};
use super::url::{Protocol, TrackerUrl};
use super::{address::is_local, encoding};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderValue, LOCATION, USER_AGENT};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Error as ClientError;
use ringseed_net::route::Route;
use ringseed_proto::tracker::Family;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not a URL of a protocol that files are fetched over.
    #[error("this is not a URL of http or https")]
    NotHttp,
    /// It is not written as URLs are.
    #[error("this is not a URL")]
    NotAUrl,
    /// The name has no address.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// It is on this machine or in its networks.
    #[error("local addresses are not fetched from; rpc-fetch-local = true allows it")]
    Local,
    /// Nothing to connect to.
    #[error("the host has no address")]
    NoAddress,
    /// The server, or one that it led to, did not answer.
    #[error("no answer in time")]
    Timeout,
    /// The request cannot be written.
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    /// The server does not prove who it is.
    #[error(transparent)]
    Certificate(#[from] CertificateProblem),
    /// No connection, or no answer on it.
    #[error("{}", root(.0))]
    Unreachable(ClientError),
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// The server has no such file, or does not give it.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The file is larger than it may be, in bytes.
    #[error("the answer is larger than {:.1} MiB", *.0 as f64 / f64::from(1 << 20))]
    TooLarge(usize),
    /// Not all of the file came.
    #[error("the answer broke off: {}", root(&**.0))]
    BrokeOff(Box<dyn Error + Send + Sync>),
    /// What came cannot be decoded.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
}

/// What is fetched, and how.
#[derive(Debug, Clone)]
pub struct FetchRequest<'a> {
    /// An http or https URL. Credentials in it, as `name:password@`, are sent to the first host only.
    pub url: &'a str,
    /// Value of the `Cookie` header, sent to the first host only.
    pub cookies: Option<&'a str>,
    /// Whether addresses of this machine and its networks may be asked.
    pub local: bool,
    /// How to connect.
    pub route: &'a Route,
    /// Whose certificates are believed.
    pub trust: &'a Trust,
    /// Most bytes of the answer.
    pub bytes_max: usize,
}

/// Fetches a file. Redirects are followed; without `local` no local address is ever connected to, whatever a name
/// resolves to.
///
/// # Errors
/// When there is no such file, or no way to it.
pub async fn fetch(request: &FetchRequest<'_>) -> Result<Vec<u8>, FetchError> {
    let url = TrackerUrl::of_any_length(request.url).ok().filter(|url| url.protocol != Protocol::Udp);
    let url = url.ok_or(FetchError::NotHttp)?;
    let uri: Uri = url.address.parse().map_err(|_| FetchError::NotAUrl)?;
    let login = url.authorization.as_ref();
    let work = async {
        let names = Arc::new(Names::new());
        let host = uri.host().unwrap_or_default();
        if request.route.proxy.is_some() {
            // The proxy resolves names. Which of them it is asked for is decided where it is asked.
            let dialer = dialer(Family::V4, request, names);
            return follow(&client(dialer, request.trust, 0), uri.clone(), login, request).await;
        }
        let addresses = names.resolve(host).await;
        let addresses = addresses.map_err(|error| FetchError::Resolve { host: host.to_owned(), error })?;
        if !request.local && addresses.iter().all(|ip| is_local(*ip)) {
            return Err(FetchError::Local);
        }
        let mut last = FetchError::NoAddress;
        for family in [Family::V4, Family::V6] {
            let usable = |ip: &IpAddr| Family::of(*ip) == family && (request.local || !is_local(*ip));
            if !addresses.iter().any(usable) {
                continue;
            }
            let client = client(dialer(family, request, names.clone()), request.trust, 0);
            match follow(&client, uri.clone(), login, request).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    timeout(FETCH_TIMEOUT, work).await.unwrap_or(Err(FetchError::Timeout))
}

fn dialer(family: Family, request: &FetchRequest<'_>, names: Arc<Names>) -> Dialer {
    Dialer { family, public_only: !request.local, route: request.route.clone(), names }
}

async fn follow(
    client: &HttpClient,
    mut uri: Uri,
    login: Option<&HeaderValue>,
    request: &FetchRequest<'_>,
) -> Result<Vec<u8>, FetchError> {
    let first = (uri.scheme().cloned(), uri.authority().cloned());
    for _ in 0..=REDIRECTS_MAX {
        let mut ask = hyper::Request::get(uri.clone())
            .header(USER_AGENT, concat!("Ringseed/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*");
        // Nobody that a redirect leads to is meant by them.
        if (uri.scheme(), uri.authority()) == (first.0.as_ref(), first.1.as_ref()) {
            if let Some(cookies) = request.cookies {
                ask = ask.header(COOKIE, cookies);
            }
            if let Some(login) = login {
                ask = ask.header(AUTHORIZATION, login);
            }
        }
        let ask = ask.body(Empty::new())?;
        let response = client.request(ask).await.map_err(|error| match certificate_problem(&error) {
            _ if led_to_local(&error) => FetchError::Local,
            Some(problem) => FetchError::Certificate(problem),
            None => FetchError::Unreachable(error),
        })?;
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).map(|location| location.as_bytes());
            let location = location.and_then(|location| std::str::from_utf8(location).ok());
            uri = redirect::target(&uri, location.ok_or(RedirectError::Nowhere)?)?;
            continue;
        }
        if !status.is_success() {
            return Err(FetchError::Status(status));
        }
        let (head, body) = response.into_parts();
        return match Limited::new(body, request.bytes_max).collect().await {
            // It was not asked for; some servers do it all the same.
            Ok(body) => {
                Ok(encoding::decoded(&head.headers, &body.to_bytes(), request.bytes_max)?.into_owned())
            }
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge(request.bytes_max)),
            Err(error) => Err(FetchError::BrokeOff(error)),
        };
    }
    Err(RedirectError::TooMany.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::socks5::Proxy;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn run<F: Future>(test: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    fn request(url: &str, local: bool) -> FetchRequest<'_> {
        const DIRECT: &Route = &Route { bind: None, interface: None, proxy: None };
        let trust = Box::leak(Box::default());
        FetchRequest { url, cookies: Some("a=b"), local, route: DIRECT, trust, bytes_max: 100 }
    }

    #[test]
    fn local_addresses_are_asked_only_when_that_is_allowed() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"] {
                let url = format!("http://{host}:{port}/x.torrent");
                assert!(matches!(fetch(&request(&url, false)).await, Err(FetchError::Local)), "{host}");
            }
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 1000];
                let length = stream.read(&mut asked).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
                String::from_utf8_lossy(&asked[..length]).to_lowercase()
            };
            let url = format!("http://us%65r:p@ss@127.0.0.1:{port}/a b|c.torrent");
            let wanted = request(&url, true);
            let (asked, answer) = tokio::join!(server, fetch(&wanted));
            assert_eq!(answer.unwrap(), b"hi");
            assert!(asked.contains("cookie: a=b"), "{asked}");
            assert!(asked.starts_with("get /a%20b%7cc.torrent "), "{asked}");
            assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
            assert!(asked.contains("authorization: basic dxnlcjpwqhnz\r\n"), "{asked}");
        });
    }

    /// A SOCKS proxy of one test: it lets everybody in, and answers itself what is asked of whatever host. Gives the
    /// hosts that it was to connect to.
    async fn answering_proxy(listener: TcpListener, answer: String, asked: Rc<RefCell<Vec<String>>>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 300];
            let mut head = async |count: usize| {
                stream.read_exact(&mut bytes[..count]).await.unwrap();
                bytes[..count].to_vec()
            };
            let methods = usize::from(head(2).await[1]);
            head(methods).await;
            stream.write_all(&[5, 0]).await.unwrap();
            let mut head = async |count: usize| {
                stream.read_exact(&mut bytes[..count]).await.unwrap();
                bytes[..count].to_vec()
            };
            let host = match head(4).await[3] {
                1 => format!("{:?}", head(4).await),
                3 => {
                    let length = usize::from(head(1).await[0]);
                    String::from_utf8(head(length).await).unwrap()
                }
                _ => format!("{:?}", head(16).await),
            };
            head(2).await;
            asked.borrow_mut().push(host);
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let _ = stream.read(&mut bytes).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// Whatever the proxy could reach: what it is asked for is the fetcher's decision, at each step of the way.
    #[test]
    fn a_proxy_is_asked_for_no_local_host() {
        run(async {
            for (url, location) in [
                ("http://public.example/x", "http://127.0.0.1:9/x"),
                ("http://public.example/x", "http://localhost:9/x"),
                ("http://public.example/x", "http://a.localhost./x"),
                ("http://public.example/x", "http://[::1]:9/x"),
                ("http://public.example/x", "//169.254.169.254/latest"),
                ("http://public.example/x", "http://127.1/x"),
                ("http://localhost/x", ""),
                ("http://10.0.0.1/x", ""),
                ("http://2130706433/x", ""),
            ] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let route =
                    Route { proxy: Some(Arc::new(Proxy { address, login: None })), ..Route::default() };
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let asked = Rc::new(RefCell::new(Vec::new()));
                let wanted = FetchRequest { route: &route, ..request(url, false) };
                let got = tokio::select! {
                    () = answering_proxy(listener, answer, asked.clone()) => unreachable!("it ends with the test"),
                    got = fetch(&wanted) => got,
                };
                assert!(matches!(got, Err(FetchError::Local)), "{url} {location}");
                let expected: &[&str] = if location.is_empty() { &[] } else { &["public.example"] };
                assert_eq!(*asked.borrow(), expected, "{url} {location}");
            }
        });
    }

    #[test]
    fn only_http_is_spoken() {
        for url in ["file:///etc/passwd", "ftp://x/y", "http://", "gopher://x", ""] {
            assert!(run(fetch(&request(url, true))).is_err(), "{url}");
        }
    }
}
