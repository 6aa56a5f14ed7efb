//! The thumbprint of a server's certificate, and a TLS verifier that asks for nothing else.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The hash of a certificate, as `spec.thumbprint` of a VSphereCluster has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Thumbprint {
    /// What Cluster API Provider vSphere documents.
    Sha1([u8; 20]),
    /// What it takes too.
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// Reads bytes in hexadecimal digits, with colons or without. None where it is neither hash.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|byte| *byte != b':')
            .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        match digits.len() {
            40 => bytes.try_into().ok().map(Self::Sha1),
            64 => bytes.try_into().ok().map(Self::Sha256),
            _ => None,
        }
    }

    /// The one of the same kind that a certificate has.
    pub(crate) fn of(&self, certificate: &[u8]) -> Self {
        match self {
            Self::Sha1(_) => Self::Sha1(Sha1::digest(certificate).into()),
            Self::Sha256(_) => Self::Sha256(Sha256::digest(certificate).into()),
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Trusts the one certificate that has the thumbprint, whoever signed it and whatever its name, as the provider does. The
/// server has to have its key.
#[derive(Debug)]
pub(crate) struct Pinned {
    thumbprint: Thumbprint,
    algorithms: WebPkiSupportedAlgorithms,
    /// What the server's certificate has, where it is another one.
    other: OnceLock<Thumbprint>,
}

impl Pinned {
    pub(crate) fn new(thumbprint: Thumbprint, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self {
            thumbprint,
            algorithms: provider.signature_verification_algorithms,
            other: OnceLock::new(),
        })
    }

    pub(crate) fn other(&self) -> Option<&Thumbprint> {
        self.other.get()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = self.thumbprint.of(end_entity);
        if shown == self.thumbprint {
            return Ok(ServerCertVerified::assertion());
        }
        self.other.get_or_init(|| shown);
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_either_hash_in_hexadecimal_digits() {
        let sha1 = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        let read = Thumbprint::parse(sha1).unwrap();
        assert_eq!(read.to_string(), sha1);
        assert_eq!(
            Thumbprint::parse(&sha1.replace(':', "").to_lowercase()),
            Some(read.clone())
        );
        assert_eq!(read.of(b"abc"), read);
        assert_ne!(read.of(b"abd"), read);
        let sha256 = Thumbprint::parse(&"0".repeat(64)).unwrap().of(b"abc");
        assert!(sha256.to_string().starts_with("BA:78:16:BF"), "{sha256}");
        for text in ["", "A9", "x9:99", &"g".repeat(40), &"0".repeat(41), &"é".repeat(20)] {
            assert_eq!(Thumbprint::parse(text), None, "{text}");
        }
    }
}
