//! SOCKS5 (RFC 1928), with user name and password (RFC 1929) or without.

use std::io;

use tokio_socks::io::Compat;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error, IntoTargetAddr};

use super::Destination;
use super::proxy::LoginRefused;
use crate::runtime::Stream;

/// Asks a proxy to connect. It resolves the name.
pub(super) async fn connect<S: Stream>(
    stream: S,
    to: &Destination,
    credentials: Option<(&str, &str)>,
) -> io::Result<S> {
    let target = (to.host(), to.port()).into_target_addr().map_err(explain)?;
    let stream = Compat::new(stream);
    let connected = match credentials {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, target).await,
    };
    Ok(connected.map_err(explain)?.into_inner().into_inner())
}

fn explain(error: Error) -> io::Error {
    let text = match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ended the connection before it answered".into()
        }
        Error::Io(error) => return error,
        Error::InvalidResponseVersion | Error::InvalidReservedByte | Error::UnknownAddressType => {
            "its answer is not SOCKS5; is it an http:// proxy?".into()
        }
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            let text = "it wants a user name and a password in its URL, or others than those";
            return LoginRefused::error(text.into());
        }
        Error::PasswordAuthFailure(_) => {
            return LoginRefused::error("it refuses the user name or the password".into());
        }
        Error::InvalidAuthValues(why) => format!("user name and password: {why}"),
        refused => format!("it does not connect to the server: {refused}"),
    };
    io::Error::other(text)
}
