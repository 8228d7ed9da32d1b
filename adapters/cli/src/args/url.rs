//! The address of a server as an argument.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use wwr_smol::client::ServerUrl;

/// Parses the URL of a server. Unlike the usual parsers, its errors do not repeat the text, which
/// may contain a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlParser;

impl TypedValueParser for UrlParser {
    type Value = ServerUrl;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<ServerUrl, Error> {
        let parsed = match value.to_str() {
            Some(text) => text.parse::<ServerUrl>().map_err(|error| error.to_string()),
            None => Err("the URL is not UTF-8; percent-encode the other bytes".into()),
        };
        parsed.map_err(|reason| {
            let message = format!("invalid value for '<URL>': {reason}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
