//! The certificates of a cluster: one authority, and what it signs.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::{Span, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Pair {
    /// Writes `tls.crt` and `tls.key`, as a Secret of that type is mounted.
    ///
    /// Each file is replaced whole: who reads at the same time sees the old or the new one.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        replace(&dir.join("tls.crt"), &self.certificate)?;
        replace(&dir.join("tls.key"), &self.key)
    }
}

/// Replaces a file, which only its owner may read.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut options = File::options();
    let file = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// The authority of a cluster.
pub struct Certificates {
    dir: PathBuf,
    authority: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Makes an authority and all that the cluster's own processes need, in a directory.
    pub fn create(dir: &Path) -> Result<Self> {
        let mut params = parameters("instar-e2e", None, 365)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.pem();
        let certificates = Self {
            dir: dir.to_owned(),
            authority,
            issuer: Issuer::new(params, key),
        };

        replace(&certificates.authority_file(), &certificates.authority)?;
        certificates
            .issue_server("kube-apiserver")?
            .write(&certificates.api_server_dir())?;
        certificates
            .issue_server("webhooks")?
            .write(&certificates.webhooks_dir())?;
        let tokens = KeyPair::generate()?;
        replace(&certificates.token_key(), &tokens.serialize_pem())?;
        replace(&certificates.token_public_key(), &tokens.public_key_pem())?;
        Ok(certificates)
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A certificate for a server on loopback, under a name that shows in its subject.
    pub fn issue_server(&self, name: &str) -> Result<Pair> {
        self.issue_server_for(name, 365)
    }

    /// The same, valid for a number of days; 0 has expired already.
    pub fn issue_server_for(&self, name: &str, days: i32) -> Result<Pair> {
        let mut params = parameters(name, None, days)?;
        params.subject_alt_names = vec![
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::DnsName("localhost".try_into()?),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A certificate for a client of the API server: its user name and its group.
    pub fn issue_client(&self, user: &str, group: &str) -> Result<Pair> {
        let mut params = parameters(user, Some(group), 365)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        Self::authority_in(&self.dir)
    }

    /// The authority's certificate in a directory that one was made in.
    #[must_use]
    pub fn authority_in(dir: &Path) -> PathBuf {
        dir.join("ca.crt")
    }

    /// The API server's certificate and key.
    #[must_use]
    pub fn api_server_dir(&self) -> PathBuf {
        self.dir.join("kube-apiserver")
    }

    /// The certificate and key of Cluster API's webhook servers.
    #[must_use]
    pub fn webhooks_dir(&self) -> PathBuf {
        self.dir.join("webhooks")
    }

    /// What signs the tokens of ServiceAccounts.
    #[must_use]
    pub fn token_key(&self) -> PathBuf {
        self.dir.join("sa.key")
    }

    /// What those tokens are checked with.
    #[must_use]
    pub fn token_public_key(&self) -> PathBuf {
        self.dir.join("sa.pub")
    }
}

fn parameters(name: &str, organization: Option<&str>, days: i32) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // From the day before yesterday: days are counted in UTC, and clocks differ.
    let day = |offset: i32| -> Result<_> {
        let date = Zoned::now().date().checked_add(Span::new().days(offset))?;
        Ok(date_time_ymd(
            date.year().into(),
            date.month().try_into()?,
            date.day().try_into()?,
        ))
    };
    params.not_before = day(-2)?;
    params.not_after = day(if days == 0 { -1 } else { days })?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_processes_read() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Certificates::create(dir.path()).unwrap();
        for file in [
            "ca.crt",
            "sa.key",
            "sa.pub",
            "kube-apiserver/tls.crt",
            "webhooks/tls.key",
        ] {
            let text = fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(text.starts_with("-----BEGIN "), "{file}");
        }
        assert!(
            fs::read_to_string(certificates.token_public_key())
                .unwrap()
                .contains("BEGIN PUBLIC KEY")
        );
    }
}
