//! The protocol byte by byte: a join, a line and a file, as they are on the wire. This page is also a test.
//!
//! A token holds the time and 16 random bytes, the IV, so the same text gives another token each time. Here key, time and IV are those
//! of the vector that the Fernet specification publishes, so every byte is known beforehand. (In real use a fixed IV would
//! tell an eavesdropper which texts begin alike.)
//!
//! ```
//! use aes::cipher::{block_padding::Pkcs7, BlockEncryptMut, KeyIvInit};
//! use base64::{engine::general_purpose::URL_SAFE, Engine};
//! use hmac::Mac;
//!
//! use fernchat::seal::Key;
//! use fernchat::wire::frame::{encode, FrameReader, Piece, MAX_FRAME};
//! use fernchat::wire::name_set;
//!
//! // A token, by hand. The key is 32 bytes: 16 to sign, 16 to encrypt.
//! const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
//! fn token(text: &[u8]) -> String {
//!     let key: [u8; 32] = URL_SAFE.decode(KEY).unwrap().try_into().unwrap();
//!     let iv: [u8; 16] = std::array::from_fn(|at| at as u8);
//!     let blocks = cbc::Encryptor::<aes::Aes128>::new(key[16..].into(), &iv.into()).encrypt_padded_vec_mut::<Pkcs7>(text);
//!     let signed = [&[0x80][..], &499_162_800u64.to_be_bytes(), &iv, &blocks].concat(); // version, seconds, IV, text
//!     let hmac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key[..16]).unwrap().chain_update(&signed).finalize();
//!     URL_SAFE.encode([&signed[..], &hmac.into_bytes()].concat())
//! }
//!
//! // A frame is the token's length, 4 bytes big-endian, and the token. 0x64 is 100: the shortest token, of up to 15 bytes of text.
//! let frame = |text: &str| encode(token(text.as_bytes()).as_bytes());
//!
//! // ---- A join. Step 1, the server: the key, 44 bytes without a length.
//! assert_eq!(KEY.len(), 44);
//! // Step 2, the client: the user name. `gAAAAA` is the version and the high bytes of the time.
//! let name = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD0xI-UrLJKlphoOB-GEuB5om0mE0-e1J0QSQE1fLiJ73YNPjdEUv0oxrAysmp2NFjQ==";
//! assert_eq!(frame("alice"), name);
//! // Step 3, the server asks for the group. (A space and a challenge follow.) 25 bytes of text make two blocks, and a token of 0x78, 120.
//! let question = b"\0\0\0\x78\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODz2saHXiyUiWfz9TnDU_SAZLOcLHMaT7pEfaOAciLx4lLMeF8qVtXzrcIxxi5dlJ8MFJ\
//!     MDYAGTCXavyYJ5DeJoI=";
//! assert_eq!(frame("/sendGroupname fernchat/1"), question);
//! // Step 4, the client: the group name. (A fernchat client adds three lines, see the page of `wire`.)
//! let group = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD75cJ0MPES-7tv8SkFN-oJSdveTEc3vpso9ntUKlPfQ_pYUMbFPgDdzNfeqblV4Ajg==";
//! assert_eq!(frame("team"), group);
//! // Step 5, the server: the group is new, and alice is its admin.
//! let verdict = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD8d1NKSyJuEj66fuMpJxztrz4j0weJD0aKU69RIcOIbr2ZyU_CtNmNDWb-sLVZf7gg==";
//! assert_eq!(frame("/adminReady"), verdict);
//!
//! // ---- A line. The client sends the command, the server its echo, the client the text.
//! // 12 bytes of text make one block again, so the length does not tell which short command it is.
//! let command = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODzRqRNIyYVyAxZPGw1wmb-pjso_VxWsVIZ1M6YHf5IYHQFPBInBzSe5Swr56kqIGSg==";
//! assert_eq!(frame("/messageSend"), command);
//! // This token is the published vector itself.
//! let text = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
//! assert_eq!(frame("hello"), text);
//! // The server, to every other member: an event.
//! let line = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD8cnY26Pfo2JBz-eiP7YhF4C9or4DVQjyuimz-XRa-KnsREZTqJW62wrHjP24wzfxw==";
//! assert_eq!(frame("alice: hello"), line);
//!
//! // ---- A file. The client sends the command, and the server echoes it.
//! let upload = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD5GKVJUWptNcZVUjvAA7w37dr3xMY-1D0P7-pWs62oKczvRE3JSANHTyPgFEEQsZKg==";
//! assert_eq!(frame("/fileTransfer"), upload);
//! // The client: the file's name.
//! let file_name = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD5RGMKdVzOckWZI69rd5hcvBprIX2EChda1mOT4v7UNpG93qicXCO6SMkhYOu9Qvdw==";
//! assert_eq!(frame("notes.txt"), file_name);
//! // The server: the client may send.
//! let permission = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD2aus78PezOtbQsm2kCw2A5zDW2rYi3GxsMst1yokC2FqgMv7G44haKQ2y9aa-V0rw==";
//! assert_eq!(frame("/sendFile"), permission);
//! // The client: how long the token of the whole file will be, in decimal digits ...
//! let length = b"\0\0\0\x64\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODz7Q-R-QHmqsRwm9BvuNGauSVOtoh3dhQ5CfhPbmWyUaZYxHJznJOlf61wUR9dvqnQ==";
//! assert_eq!(frame("100"), length);
//! // ... and then that token, without a length in front. The file holds "hello", so it is the token from above.
//! let body = token(b"hello");
//! assert_eq!(body.as_bytes(), &text[4..]);
//! // The server, when it has the whole body and the HMAC fits. 36 bytes of text make three blocks. 0x8c is 140, and such a token ends without `=`.
//! let result = b"\0\0\0\x8c\
//!     gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD_9BgsC923hd13FG4MFsLlYls9PyUE3V1KrWpwTQgfmIPz5m68m4SU0wK6c-99IYjCK6\
//!     p3XqawW5rJpTbp7BeCp7BwRLgOJwmlDE0-jqVkQt";
//! assert_eq!(frame("notes.txt is on its way to 1 member."), result);
//!
//! // ---- And back. All that the client sent, in one stream. The lengths say where to cut it, and for the body the number before it.
//! let said = [&name[..], group, command, text, upload, file_name, length, body.as_bytes()].concat();
//! let key = Key::parse(KEY).unwrap();
//! let opens = |token: &[u8]| key.opens(token);
//! let mut frames = FrameReader::new(&said[..], MAX_FRAME);
//! for text in ["alice", "team", "/messageSend", "hello", "/fileTransfer", "notes.txt", "100"] {
//!     let token = frames.next_frame(&opens).unwrap().unwrap();
//!     assert_eq!(key.open(&token).unwrap(), text.as_bytes());
//! }
//! let mut piece = [0; 100];
//! assert_eq!(frames.next_piece(100, &mut piece, &opens).unwrap(), Piece::Body(100));
//! assert_eq!(key.open(&piece).unwrap(), b"hello");
//! assert!(frames.next_frame(&opens).unwrap().is_none());
//!
//! // ---- A set, as it answers `/allMembers`: a pickle of protocol 4. 0x8f is an empty set, 0x8c a string and its length, 0x90 adds, `.` stops.
//! assert_eq!(name_set::encode(["alice", "bob"]), b"\x80\x04\x8f(\x8c\x05alice\x8c\x03bob\x90.");
//! ```
