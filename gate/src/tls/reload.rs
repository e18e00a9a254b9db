//! The certificate of a listener, exchanged when its files change.
//!
//! Files are compared by their content, at an interval: that sees renamed files, exchanged symbolic links, as Kubernetes
//! has them, and network file systems, none of which a watch on a file does. New files are taken as a whole or not at
//! all. Open connections keep what they were made with.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;

use super::pem::TlsError;
use super::server::{Built, ServerFiles};

/// The server's side of TLS, as its files were when they were last good.
pub struct ServerTls {
    files: ServerFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// The fingerprint of the files that were last looked at, good or not; `None` after they could not be read.
    seen: Mutex<Option<u64>>,
}

/// What a look at the files led to.
#[derive(Debug)]
pub enum Reload {
    /// They are as they were at the last look.
    Unchanged,
    /// New connections get what is in them now.
    Done,
    /// They changed and cannot be used; the last good certificate stays.
    Kept(TlsError),
}

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files.
    pub fn open(files: ServerFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let built = files.build(&contents)?;
        describe(&files, &built);
        Ok(Self { files, config: RwLock::new(built.config), seen: Mutex::new(Some(contents.fingerprint())) })
    }

    /// What the next handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.read().clone()
    }

    pub fn files(&self) -> &ServerFiles {
        &self.files
    }

    /// Looks at the files until it is dropped.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let this = self.clone();
            let _ = tokio::task::spawn_blocking(move || this.reload()).await;
        }
    }

    /// Looks at the files once. A failure is logged once for each state of the files.
    pub fn reload(&self) -> Reload {
        let mut seen = self.seen.lock();
        let result = match self.files.read() {
            Ok(contents) => {
                let fingerprint = Some(contents.fingerprint());
                if *seen == fingerprint {
                    return Reload::Unchanged;
                }
                *seen = fingerprint;
                self.files.build(&contents)
            }
            Err(_) if seen.is_none() => return Reload::Unchanged,
            Err(error) => {
                *seen = None;
                Err(error)
            }
        };
        drop(seen);
        match result {
            Ok(built) => {
                count("done");
                tracing::info!(certificate = %self.files.certificate, "a new certificate is in use");
                describe(&self.files, &built);
                *self.config.write() = built.config;
                Reload::Done
            }
            Err(error) => {
                count("failed");
                tracing::warn!(%error, "the files of TLS have changed and cannot be used; the last good ones stay in use");
                Reload::Kept(error)
            }
        }
    }
}

fn describe(files: &ServerFiles, built: &Built) {
    let file = files.certificate.path.display().to_string();
    let ends = built.certificate.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("spandrel_tls_certificate_expiry_seconds", "file" => file).set(ends.as_secs_f64());
    for warning in built.certificate.warnings(SystemTime::now()) {
        tracing::warn!(certificate = %files.certificate, "{warning}");
    }
}

fn count(result: &'static str) {
    metrics::counter!("spandrel_tls_reloads_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::{Authority, Issued, PemFile};
    use super::*;

    fn write(folder: &Path, issued: &Issued) {
        fs::write(folder.join("cert"), &issued.certificate).unwrap();
        fs::write(folder.join("key"), &issued.key).unwrap();
    }

    #[test]
    fn a_pair_is_taken_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (authority, _) = Authority::create(SystemTime::now()).unwrap();
        let issue = || authority.server(&["localhost".to_owned()], SystemTime::now()).unwrap();
        write(folder, &issue());
        let tls = ServerTls::open(ServerFiles {
            certificate: PemFile::new("--tls-cert", folder.join("cert")),
            key: PemFile::new("--tls-key", folder.join("key")),
            client: None,
        })
        .unwrap();
        let first = tls.config();
        assert!(matches!(tls.reload(), Reload::Unchanged));

        let next = issue();
        fs::write(folder.join("cert"), &next.certificate).unwrap();
        let Reload::Kept(error) = tls.reload() else { panic!("half a pair was taken") };
        assert!(error.to_string().contains("write both"), "{error}");
        assert!(matches!(tls.reload(), Reload::Unchanged), "said once");
        fs::remove_file(folder.join("key")).unwrap();
        assert!(matches!(tls.reload(), Reload::Kept(TlsError::Unreadable { .. })));
        assert!(matches!(tls.reload(), Reload::Unchanged), "said once");
        assert!(Arc::ptr_eq(&first, &tls.config()));

        write(folder, &next);
        assert!(matches!(tls.reload(), Reload::Done));
        assert!(!Arc::ptr_eq(&first, &tls.config()));
    }
}
