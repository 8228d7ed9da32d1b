//! The names that a server lists.

use std::io;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use wwr::names::{self, Names};

use super::builder::Builder;
use super::dial::Target;
use super::http::{Failure, Wanted, ask};
use super::redirect::Asked;
use crate::clock::timeout;
use crate::runtime::Runtime;

impl<R: Runtime> Builder<R> {
    /// Asks the server for the names of its handlers, by HTTP (protocol §4.7), within the
    /// [dial timeout](super::MachineConfig::dial_timeout). `None` if it does not list them, or is no server of
    /// this project. For tools: the answer says nothing about what a client may do.
    ///
    /// # Errors
    ///
    /// If the settings are wrong, the server cannot be reached, or its answer is not HTTP.
    pub async fn listed_names(self) -> io::Result<Option<Names>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let (runtime, limit, target) = self.target().map_err(invalid)?;
        let asked = timeout(&runtime, limit, target.listed_names(&runtime)).await;
        match asked {
            Some(Ok(names)) => Ok(names),
            Some(Err(Failure::Io(error))) => Err(error),
            Some(Err(failure)) => Err(io::Error::other(failure.to_string())),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<R: Runtime> Target<R> {
    async fn listed_names(mut self, runtime: &R) -> Result<Option<Names>, Failure> {
        let mut followed = 0;
        loop {
            let (socket, _) = self.connect(runtime, None).await?;
            let accept = HeaderValue::from_static(names::CONTENT_TYPE);
            let request = self.request(Method::OPTIONS, [(ACCEPT, accept)]);
            let answered = ask(runtime, socket, request, |_| Wanted::Metadata).await?;
            if let Some(Ok(target)) = self.redirected(Asked::Preflight, &answered.head, followed) {
                followed += 1;
                self.go_to(target);
                continue;
            }
            let kind = answered.head.headers.get(CONTENT_TYPE);
            let lists = answered.head.status.is_success()
                && kind.is_some_and(|kind| names::is_content_type(kind.as_bytes()));
            return Ok(if lists { Names::from_body(&answered.body) } else { None });
        }
    }
}
