//! TLS and Unix sockets.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use resnet_server::http::listener::Listener;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use resnet_server::http::tls::{Tls, TlsFiles};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::client::grey;
use crate::support::listening::{connections, head, serve};
use crate::support::server::{Server, server};

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    /// A certificate for `localhost` and its key, in PEM.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a new certificate and its key into the folder.
    fn write(&self, folder: &Path) -> TlsFiles {
        let (certificate, key) = self.sign();
        let files = TlsFiles {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            clients: None,
        };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    /// A client that trusts this authority.
    fn client(&self) -> ClientConfig {
        self.builder().with_no_client_auth()
    }

    /// A client with a certificate that `signer` has signed.
    fn client_of(&self, signer: &Self) -> ClientConfig {
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        let (certificate, key) = signer.sign();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = self.builder();
        builder
            .with_client_auth_cert(vec![certificate], key)
            .unwrap()
    }

    fn builder(
        &self,
    ) -> tokio_rustls::rustls::ConfigBuilder<
        ClientConfig,
        tokio_rustls::rustls::client::WantsClientCert,
    > {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    }
}

fn public(server: &Server) -> Router {
    routes::public(Arc::clone(&server.serving), &Protocols::default())
}

/// A server with TLS on an unused port.
struct Secured {
    address: std::net::SocketAddr,
    tls: Arc<Tls>,
    _server: Server,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Secured {
    async fn start(files: TlsFiles) -> Self {
        let server = server().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Arc::new(Tls::load(files).unwrap());
        let listener = Listener::Tcp {
            listener,
            tls: Some(Arc::clone(&tls)),
        };
        let (stop, _) = serve(&server, public(&server), vec![listener], connections(10));
        Self {
            address,
            tls,
            _server: server,
            _stop: stop,
        }
    }

    async fn connect(&self, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let connector = TlsConnector::from(Arc::new(client));
        connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
    }
}

async fn classify(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<String> {
    let image = grey(42);
    stream.write_all(head(image.len()).as_bytes()).await?;
    stream.write_all(&image).await?;
    stream.flush().await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn images_over_tls() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = Secured::start(authority.write(folder.path())).await;
    let mut stream = server.connect(authority.client()).await.unwrap();
    let response = classify(&mut stream).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#""index":42,"#), "{response}");
}

#[tokio::test]
async fn the_protocol_is_agreed_on_in_the_handshake() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = Secured::start(authority.write(folder.path())).await;
    for protocol in ["h2", "http/1.1"] {
        let mut client = authority.client();
        client.alpn_protocols = vec![protocol.into()];
        let stream = server.connect(client).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(protocol.as_bytes()));
    }
}

#[tokio::test]
async fn the_oldest_version_is_1_2() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = Secured::start(authority.write(folder.path())).await;
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = server.connect(client).await.unwrap();
    assert!(classify(&mut stream).await.unwrap().contains(" 200 OK"));
    // A handshake of TLS 1.1, as an old client begins it.
    let mut old = TcpStream::connect(server.address).await.unwrap();
    let mut hello = vec![22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 2];
    hello.extend([7; 32]); // random
    hello.extend([0, 0, 2, 0, 47, 1, 0, 0, 0]); // no session, one cipher, no extension
    hello.truncate(52);
    old.write_all(&hello).await.unwrap();
    let mut response = Vec::new();
    old.read_to_end(&mut response).await.unwrap();
    // an alert, and nothing else
    assert_eq!(response.first(), Some(&21), "{response:?}");
}

#[tokio::test]
async fn a_certificate_is_replaced_without_losing_a_connection() {
    let (folder, old, new) = (
        tempfile::tempdir().unwrap(),
        Authority::new(),
        Authority::new(),
    );
    let server = Secured::start(old.write(folder.path())).await;
    let mut established = server.connect(old.client()).await.unwrap();
    assert!(!server.tls.reload().unwrap(), "nothing has changed");
    new.write(folder.path());
    assert!(server.tls.reload().unwrap());
    assert!(server.connect(old.client()).await.is_err());
    let mut stream = server.connect(new.client()).await.unwrap();
    assert!(classify(&mut stream).await.unwrap().contains(" 200 OK"));
    assert!(
        classify(&mut established)
            .await
            .unwrap()
            .contains(" 200 OK")
    );

    // Files that do not fit are reported, and the last ones stay in use.
    std::fs::write(folder.path().join("key.pem"), old.sign().1).unwrap();
    let error = server.tls.reload().unwrap_err().to_string();
    assert!(error.contains("certificate.pem"), "{error}");
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let error = server.tls.reload().unwrap_err().to_string();
    assert!(
        error.contains("key.pem") && error.contains("private key"),
        "{error}"
    );
    assert!(server.connect(new.client()).await.is_ok());
}

#[tokio::test]
async fn clients_need_a_certificate_of_the_authority() {
    let (folder, authority, stranger) = (
        tempfile::tempdir().unwrap(),
        Authority::new(),
        Authority::new(),
    );
    let path = folder.path().join("clients.pem");
    std::fs::write(&path, authority.0.pem()).unwrap();
    let files = TlsFiles {
        clients: Some(path),
        ..authority.write(folder.path())
    };
    let server = Secured::start(files).await;
    let mut known = server
        .connect(authority.client_of(&authority))
        .await
        .unwrap();
    assert!(classify(&mut known).await.unwrap().contains(" 200 OK"));
    for client in [authority.client(), authority.client_of(&stranger)] {
        // In TLS 1.3, a client learns of a refusal when it reads.
        let response = match server.connect(client).await {
            Ok(mut stream) => classify(&mut stream).await,
            Err(error) => Err(error),
        };
        assert!(response.is_err(), "{response:?}");
    }
}

#[tokio::test]
async fn plain_http_to_a_port_with_tls_harms_nobody() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = Secured::start(authority.write(folder.path())).await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    // The server may close before all of it is sent.
    let _ = classify(&mut plain).await;
    let mut stream = server.connect(authority.client()).await.unwrap();
    assert!(classify(&mut stream).await.unwrap().contains(" 200 OK"));
}

#[tokio::test]
async fn images_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet.sock");
    // left from a process that was killed
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = server().await;
    let listener = Listener::unix(&path).unwrap();
    assert!(Listener::unix(&path).is_err(), "it is in use");
    assert_eq!(
        listener.address().unwrap(),
        format!("unix:{}", path.display())
    );
    let (stop, sockets) = serve(&server, public(&server), vec![listener], connections(10));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let response = classify(&mut stream).await.unwrap();
    assert!(response.contains(r#""index":42,"#), "{response}");
    stop.send(()).unwrap();
    sockets.await.unwrap();
    assert!(!path.exists(), "the socket is removed");
}
