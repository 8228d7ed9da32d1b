//! Addresses of servers and proxies as arguments.

use core::fmt::Display;
use core::marker::PhantomData;
use core::str::FromStr;
use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use wwr_smol::client::ServerUrl;

/// Parses the URL of a server.
pub(crate) type UrlParser = Hidden<ServerUrl>;

/// Parses a URL. Unlike the usual parsers, its errors do not repeat the text, which may contain a
/// password.
#[derive(Debug)]
pub(crate) struct Hidden<T>(PhantomData<fn() -> T>);

impl<T> Default for Hidden<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Hidden<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> TypedValueParser for Hidden<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, Error> {
        let parsed = match value.to_str() {
            Some(text) => text.parse::<T>().map_err(|error| error.to_string()),
            None => Err("the URL is not UTF-8; percent-encode the other bytes".into()),
        };
        parsed.map_err(|reason| {
            let argument = argument.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value for '{argument}': {reason}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
