//! Identities: the key pair by which a fernchat server knows its users again.
//!
//! An identity is an Ed25519 key pair (RFC 8032). The client keeps it in a file of the same form as a key file: 44 characters, which are
//! the 32 bytes of the private key. The public key goes to the server with each join, and a signature that shows who holds the private
//! half. What is signed is in [`crate::wire::joining`].

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Key, KeyFileError};

/// A key pair. It is wiped when it is dropped.
pub struct Identity(SigningKey);

impl Identity {
    /// A new identity from the random numbers of the operating system.
    pub fn generate() -> Identity {
        Identity::of(&Key::generate())
    }

    /// Reads the identity in a file. If there is no such file, makes one that only its owner can read.
    ///
    /// # Errors
    /// The file cannot be read, cannot be made, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Identity, KeyFileError> {
        let key = if path.exists() {
            Key::load(path)
        } else {
            // Another client may make it at the same moment.
            Key::create(path).or_else(|error| Key::load(path).map_err(|_| error))
        };
        Ok(Identity::of(&key?))
    }

    fn of(key: &Key) -> Identity {
        let mut bytes = Zeroizing::new([0; 32]);
        // A key has 44 characters, which stand for 32 bytes.
        let n = URL_SAFE.decode_slice(key.as_str(), bytes.as_mut_slice());
        debug_assert_eq!(n, Ok(32));
        Identity(SigningKey::from_bytes(&bytes))
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement. The signature has 86 characters.
    pub fn sign(&self, statement: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(statement).to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Identity(secret)")
    }
}

/// The public half of an identity. It is displayed, and parsed, as 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the holder of the private half has signed this statement.
    pub fn has_signed(&self, statement: &[u8], signature: &str) -> bool {
        let mut bytes = [0; 64];
        let n = URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes);
        let key = VerifyingKey::from_bytes(&self.0);
        match (n, key) {
            (Ok(64), Ok(key)) => key
                .verify_strict(statement, &Signature::from_bytes(&bytes))
                .is_ok(),
            _ => false,
        }
    }

    /// A short form for people to compare: the first 8 bytes of the SHA-256 of the key, as `4f0c-91aa-03de-7b52`.
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::digest(self.0);
        let groups = hash[..8].chunks(2);
        let groups = groups.map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]));
        groups.collect::<Vec<_>>().join("-")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = ();

    fn from_str(text: &str) -> Result<PublicKey, ()> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(PublicKey(bytes)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_pair_is_that_of_the_rfc() {
        // RFC 8032, section 7.1, test 2: the message is the byte 72 (hex).
        let private = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let identity = Identity::of(&Key::parse(&URL_SAFE.encode(bytes(private))).unwrap());
        assert_eq!(identity.public().0.to_vec(), bytes(public));
        let signed = URL_SAFE_NO_PAD.encode(bytes(signature));
        assert_eq!(identity.sign(&[0x72]), signed);
        assert!(identity.public().has_signed(&[0x72], &signed));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn a_signature_holds_for_one_statement_and_one_key() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let signed = one.sign(b"hello");
        assert!(one.public().has_signed(b"hello", &signed));
        assert!(!one.public().has_signed(b"hallo", &signed));
        assert!(!other.public().has_signed(b"hello", &signed));
        for damaged in ["", "AAAA", &signed[1..], &format!("{signed}A"), "é"] {
            assert!(!one.public().has_signed(b"hello", damaged), "{damaged}");
        }
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        let key = Identity::generate().public();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.fingerprint().len(), 19);
        for text in ["", "AAAA", &format!("{key}=")] {
            assert_eq!(text.parse::<PublicKey>(), Err(()));
        }
    }

    #[test]
    fn an_identity_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let public = Identity::load_or_create(&path).unwrap().public();
        assert_eq!(Identity::load_or_create(&path).unwrap().public(), public);
        std::fs::write(&path, "something else").unwrap();
        let error = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("holds no key"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }

    #[test]
    fn debug_shows_nothing_of_the_private_half() {
        assert_eq!(format!("{:?}", Identity::generate()), "Identity(secret)");
    }
}
