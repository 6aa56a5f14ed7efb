//! The address of a vCenter, as `spec.server` of a VSphereCluster takes it.

use std::{fmt, net::Ipv6Addr};

use http::Uri;

const PORT: u16 = 443;

/// Where a vCenter listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads a host, with a port if need be, or a URL of the scheme `https`.
    ///
    /// # Errors
    /// What is wrong, without the text itself: there may be a password in it.
    pub fn parse(server: &str) -> Result<Self, &'static str> {
        if server.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self {
                host: server.to_owned(),
                port: PORT,
            });
        }
        let rest = match server.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return Err("its scheme is not https"),
            None => server,
        };
        if rest.contains('@') {
            return Err("it has a user in it");
        }
        let uri: Uri = format!("https://{rest}").parse().map_err(|_| "it is no address")?;
        if !matches!(uri.path(), "" | "/" | "/sdk" | "/sdk/") || uri.query().is_some() {
            return Err("it has a path that is not /sdk");
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it names no host");
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(PORT),
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

/// The port is left out where it is that of HTTPS.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        if *port == PORT {
            f.write_str(&host)
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_provider_takes_it() {
        for (text, read) in [
            ("vc.example.org", "vc.example.org"),
            ("vc.example.org:8443", "vc.example.org:8443"),
            ("https://vc.example.org/sdk", "vc.example.org"),
            ("https://127.0.0.1:36543", "127.0.0.1:36543"),
            ("fd00::1", "[fd00::1]"),
            ("[fd00::1]:8443", "[fd00::1]:8443"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), read, "{text}");
        }
        for (text, why) in [
            ("http://vc.example.org", "its scheme is not https"),
            ("https://u:p@vc.example.org", "it has a user in it"),
            ("u:p@vc.example.org", "it has a user in it"),
            ("https://vc.example.org/other", "it has a path that is not /sdk"),
            ("https://vc.example.org/sdk?a=b", "it has a path that is not /sdk"),
            ("", "it is no address"),
            ("a b", "it is no address"),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
    }
}
