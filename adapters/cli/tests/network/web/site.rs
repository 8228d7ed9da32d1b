//! A site with a page that loads the module, of another origin than the servers of WebWire.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>wwr</title>
<link rel="icon" href="data:,">
<script type="module">
  try {
    const wwr = await import("/index.js");
    await wwr.load();
    window.wwr = wwr;
  } catch (error) {
    window.failed = String(error);
  }
</script>
"#;

pub(crate) struct Site {
    address: SocketAddr,
    directory: PathBuf,
}

impl Site {
    /// Starts it. `None` if the module was not built; then says so. Ends with the process.
    pub(crate) fn start() -> Option<Self> {
        let directory = env::var_os("WWR_TEST_WEB").filter(|directory| !directory.is_empty());
        let Some(directory) = directory.map(PathBuf::from) else {
            println!("skipped: the module is tested by .ci/run web, which sets WWR_TEST_WEB");
            return None;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = directory.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let directory = served.clone();
                // Browsers open connections that they do not use.
                thread::spawn(move || answer(stream, &directory));
            }
        });
        Some(Self { address, directory })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// A page like the other one, which browsers may keep when it is left.
    pub(crate) fn kept(&self) -> String {
        format!("{}kept/", self.url())
    }

    /// The file of the module.
    pub(crate) fn module(&self) -> PathBuf {
        self.directory.join("index.js")
    }

    /// The origin of its pages.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn answer(mut stream: TcpStream, directory: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = request.split(' ').nth(1)?;
    let file = path.trim_start_matches('/');
    let kind = match file.rsplit_once('.') {
        Some((_, "js")) => "text/javascript",
        Some((_, "wasm")) => "application/wasm",
        _ => "text/html",
    };
    let (status, body) = match file {
        "" | "kept/" | "kept/other" => ("200 OK", PAGE.as_bytes().to_vec()),
        file if file.contains("..") => ("404 Not Found", Vec::new()),
        // Beside the module is an application in Rust.
        file if file.starts_with("application/") => match fs::read(directory.join("..").join(file))
        {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        },
        file => match fs::read(directory.join(file)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        },
    };
    let cache = if file.starts_with("kept/") { "private" } else { "no-store" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: {cache}\r\n\
         Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
