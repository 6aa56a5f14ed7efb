//! Certificates from text: what can be served, what can sign, and what is trusted.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::decision::{Certified, Der, Entry, Leaf, Signer, Validity};

/// A CA that can sign.
pub(super) struct Authority {
    pub(super) certificate: Certified,
    pub(super) key: KeyPair,
}

/// The certificates of a bundle, in their order.
pub(super) fn bundle(pem: &[u8]) -> Vec<Entry> {
    let read = |der: CertificateDer<'_>| certified(&der).map_or(Entry::Unreadable, Entry::Authority);
    let entries: Vec<Entry> = CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map_or(Entry::Unreadable, read))
        .collect();
    if entries.is_empty() && !pem.trim_ascii().is_empty() {
        return vec![Entry::Unreadable];
    }
    entries
}

/// The text of a bundle.
pub(super) fn pem(certificates: &[Certified]) -> String {
    let blocks = certificates.iter().map(|certificate| block(&certificate.der));
    blocks.collect()
}

fn block(der: &Der) -> String {
    let text = BASE64_STANDARD.encode(&der.0);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// The CA of a Secret, or what is wrong with it.
pub(super) fn authority(certificate: &[u8], key: &[u8]) -> Result<Authority, String> {
    let der = first(certificate)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| NO_CERTIFICATE.to_owned())?;
    if !parsed.is_ca() {
        return Err("the certificate in tls.crt is not that of a CA".to_owned());
    }
    let key = std::str::from_utf8(key)
        .ok()
        .and_then(|key| KeyPair::from_pem(key).ok());
    let key = key.ok_or("tls.key is no private key in PKCS #8")?;
    if key.subject_public_key_info() != parsed.public_key().raw {
        return Err(NOT_TOGETHER.to_owned());
    }
    Ok(Authority {
        certificate: certified(&der).ok_or(NO_CERTIFICATE)?,
        key,
    })
}

/// What servers read from a Secret, or why they can't serve it, or why clients wouldn't take it.
pub(super) fn leaf(
    certificate: &[u8],
    key: &[u8],
    hosts: &[String],
    authority: Option<&Certified>,
) -> Result<Leaf, String> {
    let der = first(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key is no private key".to_owned())?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| "tls.key is of no kind that is served".to_owned())?;
    CertifiedKey::new(vec![der.clone()], key)
        .keys_match()
        .map_err(|_| NOT_TOGETHER.to_owned())?;
    let names = names(&der).ok_or(NO_CERTIFICATE)?;
    let wanted: BTreeSet<String> = hosts.iter().map(|host| host.to_lowercase()).collect();
    if names != wanted {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        return Err(format!("it is for {}, and not for {}", list(&names), list(&wanted)));
    }
    let certificate = certified(&der).ok_or(NO_CERTIFICATE)?;
    let is_signed = authority.is_some_and(|authority| verifies(authority, &certificate, hosts));
    Ok(Leaf {
        certificate,
        signer: if is_signed { Signer::Current } else { Signer::Other },
    })
}

const NO_CERTIFICATE: &str = "tls.crt is no certificate";
const NOT_TOGETHER: &str = "tls.crt and tls.key do not belong together";

fn first(pem: &[u8]) -> Result<CertificateDer<'static>, String> {
    let first = CertificateDer::pem_slice_iter(pem).next();
    first.and_then(Result::ok).ok_or_else(|| NO_CERTIFICATE.to_owned())
}

fn certified(der: &CertificateDer<'_>) -> Option<Certified> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let time = |seconds| Timestamp::from_second(seconds).ok();
    Some(Certified {
        der: Der(der.as_ref().into()),
        valid: Validity {
            from: time(validity.not_before.timestamp())?,
            until: time(validity.not_after.timestamp())?,
        },
    })
}

fn names(der: &CertificateDer<'_>) -> Option<BTreeSet<String>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let names = names.map(|names| names.value.general_names.iter().map(name).collect());
    Some(names.unwrap_or_default())
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => name.to_lowercase(),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.map_or_else(
                |_| "an address that can't be read".to_owned(),
                |address| address.to_string(),
            )
        }
        // The list of the library is that of X.509.
        _ => "a name that is no host".to_owned(),
    }
}

/// As a client does it, at the first moment of the leaf.
fn verifies(authority: &Certified, leaf: &Certified, hosts: &[String]) -> bool {
    let Some(verifier) = verifier(std::slice::from_ref(authority)) else {
        return false;
    };
    let Some(Ok(host)) = hosts.first().map(|host| ServerName::try_from(host.as_str())) else {
        return false;
    };
    let der = CertificateDer::from(leaf.der.0.as_ref());
    let at = leaf.valid.from.duration_since(Timestamp::UNIX_EPOCH);
    let at = UnixTime::since_unix_epoch(at.try_into().unwrap_or_default());
    verifier.verify_server_cert(&der, &[], &host, &[], at).is_ok()
}

/// Who trusts these CAs and no other.
pub(super) fn verifier(authorities: &[Certified]) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        authorities
            .iter()
            .map(|authority| CertificateDer::from(authority.der.0.to_vec())),
    );
    let provider = Arc::new(ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()
}

#[cfg(test)]
mod tests;
