//! Bytes to a host and back, and HTTP on them as text: also what no client would send.

use core::time::Duration;
use std::io;

use smol::Timer;
use smol::future::or;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wwr_smol::ByteStream;

use super::outcome::{End, Trouble};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The longest body of an answer that is read, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// A byte stream, and what was read from it and not used yet.
pub(super) struct Wire {
    stream: Box<dyn ByteStream>,
    pub(super) read: Vec<u8>,
    /// How long each thing that is waited for may take.
    pub(super) patience: Duration,
}

/// The answer to an HTTP request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The minor version of HTTP/1.
    pub(super) minor: u8,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Empty with status 101.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Returns the first value of a header, as text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let mut named = self.headers.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// Waits for something, but not for longer than the host may take.
pub(super) async fn within<T>(
    patience: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    or(work, async {
        Timer::after(patience).await;
        Err(Trouble::Late { what, within: patience })
    })
    .await
}

impl Wire {
    pub(super) fn new(stream: impl ByteStream + 'static, patience: Duration) -> Self {
        Self { stream: Box::new(stream), read: Vec::new(), patience }
    }

    /// Writes everything.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let writing = async {
            self.stream.write_all(bytes).await.map_err(ended)?;
            self.stream.flush().await.map_err(ended)
        };
        within(self.patience, "room for what is sent to the host", writing).await
    }

    /// Reads what there is, at least one byte. Waits as long as it takes.
    pub(super) async fn fill(&mut self) -> Result<(), Trouble> {
        let mut chunk = vec![0; READ];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err(Trouble::Ended(End::Cut)),
            Ok(length) => {
                self.read.extend(chunk.iter().take(length));
                Ok(())
            }
            Err(error) => Err(ended(error)),
        }
    }

    /// Waits for the end of the connection, and takes nothing that comes before it for one.
    pub(super) async fn end(&mut self) -> Result<(), Trouble> {
        let patience = self.patience;
        let ending = async {
            loop {
                self.read.clear();
                match self.fill().await {
                    Ok(()) => {}
                    Err(Trouble::Ended(_)) => return Ok(()),
                    Err(trouble) => return Err(trouble),
                }
            }
        };
        within(patience, "the end of the connection", ending).await
    }

    /// Reads the final answer to a request.
    pub(super) async fn answer(&mut self) -> Result<Answer, Trouble> {
        within(self.patience, "an answer to the HTTP request", async {
            loop {
                let answer = self.head().await?;
                // Interim answers precede it (RFC 9110 section 15.2).
                if !matches!(answer.status, 100 | 102..=199) {
                    return self.body(answer).await;
                }
            }
        })
        .await
    }

    async fn head(&mut self) -> Result<Answer, Trouble> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.read);
            let invalid = |error| Trouble::Unreadable(format!("the answer is not HTTP: {error}"));
            if let httparse::Status::Complete(length) = parsed.map_err(invalid)? {
                let own =
                    |header: &httparse::Header<'_>| (header.name.to_owned(), header.value.to_vec());
                let answer = Answer {
                    minor: response.version.unwrap_or_default(),
                    status: response.code.unwrap_or_default(),
                    headers: response.headers.iter().map(own).collect(),
                    body: Vec::new(),
                };
                self.read.drain(..length);
                return Ok(answer);
            }
            if self.read.len() > MAX_HEAD {
                let why = format!("the head of the answer has more than {MAX_HEAD} bytes");
                return Err(Trouble::Unreadable(why));
            }
            self.fill().await?;
        }
    }

    async fn body(&mut self, mut answer: Answer) -> Result<Answer, Trouble> {
        if matches!(answer.status, 101 | 204 | 304) {
            return Ok(answer);
        }
        let chunked = answer.header("Transfer-Encoding").is_some();
        let length = answer.header("Content-Length").map(|length| length.trim().parse::<usize>());
        answer.body = match length {
            _ if chunked => self.chunks().await?,
            Some(Ok(length)) if length <= MAX_BODY => self.take(length).await?,
            Some(_) => return Err(Trouble::Unreadable("the Content-Length is invalid".into())),
            // It ends with the connection.
            None => {
                while self.read.len() <= MAX_BODY {
                    match self.fill().await {
                        Ok(()) => {}
                        Err(Trouble::Ended(_)) => break,
                        Err(trouble) => return Err(trouble),
                    }
                }
                std::mem::take(&mut self.read)
            }
        };
        Ok(answer)
    }

    /// Reads a body in chunks (RFC 9112 section 7.1).
    async fn chunks(&mut self) -> Result<Vec<u8>, Trouble> {
        let invalid = || Trouble::Unreadable("the chunks of the answer are invalid".into());
        let mut body = Vec::new();
        while body.len() <= MAX_BODY {
            match httparse::parse_chunk_size(&self.read).map_err(|_| invalid())? {
                httparse::Status::Complete((start, 0)) => {
                    self.read.drain(..start);
                    return Ok(body);
                }
                httparse::Status::Complete((start, length)) => {
                    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BODY);
                    self.read.drain(..start);
                    body.extend(self.take(length.ok_or_else(invalid)?).await?);
                    self.take(2).await?;
                }
                httparse::Status::Partial => self.fill().await?,
            }
        }
        Err(invalid())
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Trouble> {
        while self.read.len() < length {
            self.fill().await?;
        }
        Ok(self.read.drain(..length).collect())
    }
}

/// The system says that a connection is of no use any more.
fn ended(_: io::Error) -> Trouble {
    Trouble::Ended(End::Cut)
}
