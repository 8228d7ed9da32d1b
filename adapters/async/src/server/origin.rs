//! Origins as people write them.

use url::Url;
use wwr::server::gate::{InvalidOrigin, Origin};

/// Parses an origin as people write it, for [`Origins::List`](super::Origins::List). Like the core
/// ([`Origin`]), but names need not be in ASCII, and addresses may have any form that browsers
/// accept.
///
/// ```
/// use wwr_async::server::{InvalidOrigin, Origins, parse_origin};
///
/// let origins = Origins::List(vec![parse_origin("https://B\u{fc}cher.example/")?]);
/// assert_eq!(origins, Origins::List(vec!["https://xn--bcher-kva.example".parse()?]));
/// # Ok::<(), InvalidOrigin>(())
/// ```
///
/// # Errors
///
/// [`InvalidOrigin`] if no page can have that origin.
pub fn parse_origin(text: &str) -> Result<Origin, InvalidOrigin> {
    text.parse().or_else(|error| match error {
        InvalidOrigin::NotAscii | InvalidOrigin::Host => {
            // The form of the URL was already checked. Only the host is left.
            let url = Url::parse(text.trim()).map_err(|_| InvalidOrigin::Host)?;
            match url.origin() {
                origin @ url::Origin::Tuple(..) => origin.ascii_serialization().parse(),
                url::Origin::Opaque(_) => Err(error),
            }
        }
        other => Err(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_normalized_as_browsers_do() {
        for (text, origin) in [
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            (" HTTPS://BÜCHER.example:443/ ", "https://xn--bcher-kva.example"),
            ("http://ex%41mple.com:8080", "http://example.com:8080"),
            ("http://127.1:3000", "http://127.0.0.1:3000"),
            ("http://0x7f000001", "http://127.0.0.1"),
            ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
            ("https://example.com", "https://example.com"),
            ("app://local", "app://local"),
            ("null", "null"),
        ] {
            assert_eq!(
                parse_origin(text).map(|origin| origin.to_string()),
                Ok(origin.into()),
                "{text}"
            );
        }
        for (text, error) in [
            ("https://bü cher.example", InvalidOrigin::Host),
            ("http://1.2.3.4.5", InvalidOrigin::Host),
            ("https://", InvalidOrigin::Host),
            ("app://bücher", InvalidOrigin::NotAscii),
            ("https://bücher.example/a", InvalidOrigin::Path),
            ("https://*.bücher.example", InvalidOrigin::Wildcard),
            ("bücher.example", InvalidOrigin::Scheme),
        ] {
            assert_eq!(parse_origin(text), Err(error), "{text}");
        }
    }
}
