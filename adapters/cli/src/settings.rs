//! Settings that the library names in errors and logs, as options of this command.

use std::borrow::Cow;

/// A setting of the library, and the option that sets it.
const OPTIONS: [(&str, &str); 9] = [
    ("Builder::tls", "--tls-cert"),
    ("Config::connection.protocol", "--protocol"),
    ("Config::origins", "--allow-origin"),
    ("Config::proxy_protocol", "--proxy-protocol"),
    ("Config::trusted_proxies", "--trusted-proxy"),
    ("Tls::roots_pem", "--cacert"),
    ("Tls::with_identity_pem", "--cert and --key"),
    ("TrustedProxies::headers", "--proxy-header"),
    ("max_redirects", "--max-redirects"),
];

/// Adds to each setting in a text the option that sets it.
pub(crate) fn with_options(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (setting, option) in OPTIONS {
        if text.contains(setting) {
            text = text.replace(setting, &format!("{setting} ({option})")).into();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_beside_the_settings_that_they_set() {
        let text = "set TrustedProxies::headers to one, or Config::trusted_proxies";
        assert_eq!(
            with_options(text),
            "set TrustedProxies::headers (--proxy-header) to one, or \
             Config::trusted_proxies (--trusted-proxy)"
        );
        assert!(matches!(with_options("raise Config::hub.max_connections"), Cow::Borrowed(_)));
    }
}
