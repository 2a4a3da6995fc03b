//! A git server by https that wants a name and a password: `git http-backend` behind TLS, and beside it as much of Git LFS
//! as it takes to get content. While somebody who has told them waits for its answer, it looks whether any process shows them.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

pub(crate) const USER: &str = "swifthook";
/// Who shows a token.
pub(crate) const TOKEN_USER: &str = "x-access-token";
pub(crate) const PASSWORD: &str = "only-in-this-test-5d1f";
/// The certificate of every server here, which nobody else has signed.
pub(crate) const AUTHORITY: &str = include_str!("certificate.pem");

/// How a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it should.
    Serves,
    /// With the first version of the protocol, in which hashes are refused.
    OldProtocol,
    /// With this status.
    Fails(u16),
    /// By sending everybody there.
    Redirects(String),
    /// By sending there whoever posts; questions are answered.
    RedirectsPosts(String),
    /// By sending there whoever asks for content of Git LFS, or where it is.
    RedirectsLfs(String),
    /// By the old way of plain files, of which the objects are said to be there.
    Dumb(String),
    /// With a message that repeats what it was shown.
    Repeats,
    /// As it should, but the content of Git LFS is had from there, by addresses that are signed, as GitHub has it.
    StoresAt(String),
}

/// Answers for as long as the process lives.
pub(crate) struct GitServer {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

/// What came of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    /// Those that told the right name and password.
    pub(crate) let_in: usize,
    /// Those in which the password was told, with whatever name.
    pub(crate) with_password: usize,
    /// Files of `/proc` that showed the password then.
    pub(crate) shown_by: Vec<PathBuf>,
}

impl GitServer {
    /// Serves the repositories under `root`.
    pub(crate) fn start(root: &Path, way: Way) -> Self {
        Self::start_for(USER, root, way)
    }

    /// The same for somebody with that name.
    pub(crate) fn start_for(user: &'static str, root: &Path, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Seen::default())));
        let answering =
            Answering { tls: Arc::new(tls()), user, root: root.to_owned(), way, seen: seen.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answering) = (stream.unwrap(), answering.clone());
                std::thread::spawn(move || answering.answer(stream));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self, repository: &str) -> String {
        format!("https://127.0.0.1:{}/{repository}", self.port)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

#[derive(Clone)]
struct Answering {
    tls: Arc<ServerConfig>,
    user: &'static str,
    root: PathBuf,
    way: Way,
    seen: Arc<Mutex<Seen>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answering {
    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let connection = ServerConnection::new(self.tls.clone()).map_err(io::Error::other)?;
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        let request = Request::read(&mut stream)?;
        let (status, headers, body) = self.reply(&request)?;
        let stream = stream.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn reply(&self, request: &Request) -> io::Result<(String, String, Vec<u8>)> {
        let told = request.headers.get("authorization");
        let right = format!("Basic {}", STANDARD.encode(format!("{}:{PASSWORD}", self.user)));
        let is_let_in = told == Some(&right);
        let shown_by = if is_let_in { shown_by(self.user) } else { Vec::new() };
        {
            let mut seen = self.seen.lock().unwrap();
            seen.requests += 1;
            seen.with_password += usize::from(told.is_some_and(|told| has_password(told)));
            seen.let_in += usize::from(is_let_in);
            seen.shown_by.extend(shown_by);
        }
        match &self.way {
            Way::Fails(status) => return Ok((format!("{status} No"), String::new(), Vec::new())),
            Way::Redirects(to) => return Ok(sent("302 Found", to, request)),
            Way::RedirectsPosts(to) if request.method == "POST" => {
                return Ok(sent("307 Temporary Redirect", to, request));
            }
            Way::RedirectsLfs(to) if request.path.contains("/info/lfs/") => {
                return Ok(sent("307 Temporary Redirect", to, request));
            }
            Way::Dumb(there) => return Ok(plain_file(request, there)),
            Way::Repeats if is_let_in => {
                let kind = "Content-Type: text/plain; charset=utf-8\r\n".to_owned();
                let told = told.cloned().unwrap_or_default();
                return Ok(("403 No".into(), kind, format!("{told} {PASSWORD}\n").into()));
            }
            _ => {}
        }
        let lfs = request.path.split_once(".git/info/lfs/objects/");
        if let Some((repository, object)) = lfs.filter(|_| request.query == SIGNED) {
            return Ok(self.content(repository, object));
        }
        if !is_let_in {
            let challenge = "WWW-Authenticate: Basic realm=\"git\"\r\n".to_owned();
            return Ok(("401 Unauthorized".into(), challenge, Vec::new()));
        }
        match lfs {
            Some((repository, "batch")) => self.where_content_is(repository, request),
            Some((repository, object)) => Ok(self.content(repository, object)),
            None => self.ask_git(request),
        }
    }

    /// <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>
    fn where_content_is(&self, repository: &str, request: &Request) -> io::Result<(String, String, Vec<u8>)> {
        let asked: Value = serde_json::from_slice(&request.body)?;
        let here = || format!("https://{}", request.headers.get("host").cloned().unwrap_or_default());
        let (at, query) = match &self.way {
            Way::StoresAt(there) => (there.clone(), format!("?{SIGNED}")),
            _ => (here(), String::new()),
        };
        let object = |object: &Value| {
            let oid = object["oid"].as_str().unwrap_or_default();
            let (size, href) =
                (&object["size"], format!("{at}{repository}.git/info/lfs/objects/{oid}{query}"));
            json!({ "oid": oid, "size": size, "actions": { "download": { "href": href } } })
        };
        let objects: Vec<_> = asked["objects"].as_array().into_iter().flatten().map(object).collect();
        let body = json!({ "transfer": "basic", "objects": objects }).to_string();
        Ok(("200 OK".into(), "Content-Type: application/vnd.git-lfs+json\r\n".into(), body.into()))
    }

    /// Content as git-lfs keeps it in a repository with a working tree.
    fn content(&self, repository: &str, object: &str) -> (String, String, Vec<u8>) {
        let folder = self.root.join(repository.trim_start_matches('/')).join(".git/lfs/objects");
        let kept =
            object.get(..2).zip(object.get(2..4)).map(|(one, two)| folder.join(one).join(two).join(object));
        match kept.and_then(|file| fs::read(file).ok()) {
            Some(bytes) => ("200 OK".into(), "Content-Type: application/octet-stream\r\n".into(), bytes),
            None => ("404 Not Found".into(), String::new(), Vec::new()),
        }
    }

    /// <https://git-scm.com/docs/git-http-backend>
    fn ask_git(&self, request: &Request) -> io::Result<(String, String, Vec<u8>)> {
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let mut git = Command::new("git");
        git.arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if self.way != Way::OldProtocol {
            git.env("GIT_PROTOCOL", header("git-protocol"));
        }
        let mut git = git.spawn()?;
        git.stdin.take().expect("it is a pipe").write_all(&request.body)?;
        let said = git.wait_with_output()?.stdout;
        let end = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
        let mut status = "200 OK".to_owned();
        let mut headers = String::new();
        for line in String::from_utf8_lossy(&said[..end]).lines() {
            match line.strip_prefix("Status: ") {
                Some(told) => told.clone_into(&mut status),
                None => headers += &format!("{line}\r\n"),
            }
        }
        Ok((status, headers, said.get(end + 4..).unwrap_or_default().to_vec()))
    }
}

impl Request {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        Ok(Self { method, path, query, headers, body })
    }
}

/// An answer that sends a request elsewhere.
fn sent(status: &str, to: &str, request: &Request) -> (String, String, Vec<u8>) {
    (status.into(), format!("Location: {to}{}?{}\r\n", request.path, request.query), Vec::new())
}

/// <https://git-scm.com/docs/gitprotocol-http#_dumb_clients>
fn plain_file(request: &Request, there: &str) -> (String, String, Vec<u8>) {
    let commit = "1".repeat(40);
    let file = match request.path.split_once(".git/").map(|(_, file)| file) {
        Some("info/refs") => format!("{commit}\trefs/heads/main\n"),
        Some("HEAD") => "ref: refs/heads/main\n".to_owned(),
        Some("objects/info/http-alternates") => format!("{there}/objects\n"),
        _ => return ("404 Not Found".into(), String::new(), Vec::new()),
    };
    ("200 OK".into(), "Content-Type: text/plain\r\n".into(), file.into_bytes())
}

fn has_password(authorization: &str) -> bool {
    let told = authorization.strip_prefix("Basic ").and_then(|told| STANDARD.decode(told).ok());
    told.is_some_and(|told| String::from_utf8_lossy(&told).contains(PASSWORD))
}

/// The files of `/proc` in which the password can be seen, as it is or as it is told.
fn shown_by(user: &str) -> Vec<PathBuf> {
    let forms = [PASSWORD.to_owned(), STANDARD.encode(format!("{user}:{PASSWORD}"))];
    let files = fs::read_dir("/proc").unwrap().flatten();
    let files = files.flat_map(|process| ["cmdline", "environ"].map(|file| process.path().join(file)));
    let shows = |file: &PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
        forms.iter().any(|form| text.contains(form))
    };
    files.filter(shows).collect()
}

fn tls() -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

/// What an address has that is signed.
const SIGNED: &str = "signed";
