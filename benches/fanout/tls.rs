//! TLS for a broker and its members: a certificate that is made anew, and members who trust no other.
//!
//! The packages for it bring C, so it cannot be had on targets for which there may be no C compiler.

use std::net::TcpStream;
use std::path::Path;

use super::sockets::{Outcome, Pipe};

pub use here::certify;

/// Makes a member's pipe of its socket.
pub type Dress = Box<dyn Fn(TcpStream) -> Outcome<Box<dyn Pipe>>>;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod here {
    use std::fs;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;

    /// Puts `cert.pem` and `key.pem` into the broker's folder. `None` where TLS cannot be had.
    pub fn certify(folder: &Path) -> Outcome<Option<Dress>> {
        const HOST: &str = "127.0.0.1";
        let own = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        fs::write(folder.join("cert.pem"), own.cert.pem())?;
        fs::write(folder.join("key.pem"), own.key_pair.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone())?;
        let config = Arc::new(
            ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        );
        Ok(Some(Box::new(move |socket| {
            let connection = ClientConnection::new(config.clone(), ServerName::try_from(HOST)?)?;
            Ok(Box::new(StreamOwned::new(connection, socket)))
        })))
    }

    impl Pipe for StreamOwned<ClientConnection, TcpStream> {
        fn socket(&self) -> &TcpStream {
            &self.sock
        }

        fn holds_more(&self) -> bool {
            !self.conn.wants_read() // which it does as soon as all that it has decrypted is taken
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
mod here {
    use super::*;

    pub fn certify(_: &Path) -> Outcome<Option<Dress>> {
        Ok(None)
    }
}
