//! Certificates, and the directory that kubelet makes of a Secret.

use std::{fs, io::ErrorKind, os::unix::fs::symlink, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

/// Who signs the test's certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
    /// What a client sees of it.
    pub(super) leaf: Vec<u8>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For 127.0.0.1 until New Year's Day of a year, as a chain with the authority's own.
    pub(super) fn issue(&self, until: i32) -> Issued {
        self.issue_for(ExtendedKeyUsagePurpose::ServerAuth, until)
    }

    /// The same for a client.
    pub(super) fn issue_client(&self, until: i32) -> Issued {
        self.issue_for(ExtendedKeyUsagePurpose::ClientAuth, until)
    }

    fn issue_for(&self, purpose: ExtendedKeyUsagePurpose, until: i32) -> Issued {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Issued {
            chain: leaf.pem() + &self.0.pem(),
            key: key.serialize_pem(),
            leaf: leaf.der().to_vec(),
        }
    }
}

/// `tls.crt -> ..data/tls.crt`, `..data -> ..<generation>`.
pub(super) struct Volume(TempDir);

impl Volume {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), dir.path().join(file)).unwrap();
        }
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Swaps both files in one rename, as kubelet does, and removes the old ones.
    pub(super) fn publish(&self, chain: &str, key: &str) {
        let data = self.path().join("..data");
        let old = match fs::read_link(&data) {
            Ok(old) => Some(self.path().join(old)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        };

        let new = TempDir::with_prefix_in("..", self.path()).unwrap().keep();
        fs::write(new.join("tls.crt"), chain).unwrap();
        fs::write(new.join("tls.key"), key).unwrap();
        let swap = self.path().join("..data_tmp");
        symlink(new.file_name().unwrap(), &swap).unwrap();
        fs::rename(swap, data).unwrap();

        if let Some(old) = old {
            fs::remove_dir_all(old).unwrap();
        }
    }
}
