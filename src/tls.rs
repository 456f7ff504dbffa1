//! TLS for the listeners: certificates from files, read again when the files change.
//!
//! Versions 1.2 and 1.3, with rustls's own choice of ciphers, over the one cryptography library that
//! is here anyway. A file that is not right at the start stops it; one that is not right later is
//! warned of, and the last good one stays.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the certificates are, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain that is shown, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// CA bundle for client certificates; `None`: no mutual TLS.
    pub client_ca: Option<PathBuf>,
}

/// What a listener shows and asks for.
pub struct Tls {
    files: Mutex<TlsFiles>,
    protocol: &'static [u8],
    current: RwLock<Arc<ServerConfig>>,
    /// What the files held when they were last looked at.
    seen: Mutex<FileContents>,
}

/// A file that cannot be used: which, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub String);

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum TlsConnection {
    /// As it came.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Files that were read and are right, to be [taken up](Tls::take).
pub struct PreparedTls {
    files: TlsFiles,
    contents: FileContents,
    config: ServerConfig,
}

#[derive(PartialEq, Eq)]
struct FileContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files. `protocol` is the one that is spoken over it, as ALPN names it.
    ///
    /// # Errors
    /// If one cannot be read or does not hold what it should.
    pub fn load(files: TlsFiles, protocol: &'static [u8]) -> Result<Tls, TlsError> {
        let contents = FileContents::read(&files)?;
        let current = RwLock::new(Arc::new(contents.config(&files, protocol)?));
        Ok(Tls { files: Mutex::new(files), protocol, current, seen: Mutex::new(contents) })
    }

    /// Reads files that may be other ones, and changes nothing yet.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn prepare(&self, files: TlsFiles) -> Result<PreparedTls, TlsError> {
        let contents = FileContents::read(&files)?;
        let config = contents.config(&files, self.protocol)?;
        Ok(PreparedTls { files, contents, config })
    }

    /// From the next connection on these are in use.
    pub fn take(&self, prepared: PreparedTls) {
        let PreparedTls { files, contents, config } = prepared;
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = contents;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The files that are looked at.
    fn files(&self) -> TlsFiles {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// If the client does not; there is nobody to tell.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsConnection> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let stream = TlsAcceptor::from(current).accept(stream).await?;
        Ok(TlsConnection::Tls(Box::new(stream)))
    }

    /// Looks at the files, and takes what they hold from the next connection on. Returns whether
    /// that is something new.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was there stays in use, and the same files are not complained of
    /// again.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let files = self.files();
        let contents = FileContents::read(&files)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Ok(false);
        }
        let config = contents.config(&files, self.protocol);
        *seen = contents;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config?);
        Ok(true)
    }

    /// Looks at the files every few seconds, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut complaint = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let this = Arc::clone(&self);
            let Ok(refreshed) = tokio::task::spawn_blocking(move || this.refresh()).await else {
                return;
            };
            match refreshed {
                Ok(true) => {
                    complaint = None;
                    tracing::info!(
                        certificate = %self.files().certificate.display(),
                        "new certificates are in use"
                    );
                }
                Ok(false) => {}
                Err(problem) if complaint.as_ref() == Some(&problem) => {}
                Err(problem) => {
                    tracing::warn!(%problem, "the last good certificates stay in use");
                    complaint = Some(problem);
                }
            }
        }
    }
}

impl FileContents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| TlsError(format!("cannot read {}: {error}", path.display())))
        };
        Ok(FileContents {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, files: &TlsFiles, protocol: &[u8]) -> Result<ServerConfig, TlsError> {
        let wrong = |path: &Path, wanted: &str| {
            TlsError(format!("{} must hold {wanted}, in PEM form", path.display()))
        };
        let chain = certificates(&self.certificate);
        let chain =
            chain.ok_or_else(|| wrong(&files.certificate, "the server's certificate chain"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| wrong(&files.key, "the certificate's private key"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?;
        let config = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let wrong = || wrong(path, "the certificates that clients are vouched for by");
                let mut roots = RootCertStore::empty();
                for root in certificates(pem).ok_or_else(wrong)? {
                    roots.add(root).map_err(|_| wrong())?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build().map_err(|_| wrong())?;
                config.with_client_cert_verifier(verifier)
            }
            (Some(_) | None, Some(_) | None) => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(chain, key).map_err(|error| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            TlsError(format!("{certificate} and {key} do not go together: {error}"))
        })?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

/// All certificates of a text; `None` if there is none, or one that is not right.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty())
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TlsConnection::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            TlsConnection::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TlsConnection::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            TlsConnection::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TlsConnection::Plain(stream) => Pin::new(stream).poll_flush(context),
            TlsConnection::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TlsConnection::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            TlsConnection::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TlsConnection::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            TlsConnection::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            TlsConnection::Plain(stream) => stream.is_write_vectored(),
            TlsConnection::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files()).finish_non_exhaustive()
    }
}
