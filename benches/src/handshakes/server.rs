//! The cryptography of a TLS 1.3 server's handshake (RFC 8446 §4.4, §7.1), on messages of the usual lengths.

use ring::aead::{AES_128_GCM, LessSafeKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use ring::{digest, hmac};

use super::{key, open, seal};

// Lengths of messages: those of a connection with one certificate signed by itself. A real chain is hashed and sealed at
// gigabytes per second and hardly counts.
const CLIENT_HELLO: usize = 250;
const RESUMING_HELLO: usize = 480;
const SERVER_HELLO: usize = 122;
const EXTENSIONS: usize = 25;
const CERTIFICATE: usize = 460;
const SIGNATURE: usize = 80;
const FINISHED: usize = 36;
/// What a ticket holds, and the message with it.
const TICKET: usize = 160;
const TICKET_MESSAGE: usize = 220;
/// What is signed: padding, context and the hash of the transcript.
const SIGNED: usize = 64 + 34 + 32;

const BLANK: [u8; 1024] = [7; 1024];

type Secret = [u8; 32];

/// A server with its certificate's key and the key of its tickets.
pub(super) struct Server {
    random: SystemRandom,
    signer: EcdsaKeyPair,
    /// What a client sent.
    share: Vec<u8>,
    tickets: LessSafeKey,
}

impl Server {
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let document = document.unwrap_or_else(|error| panic!("{error}"));
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random);
        let signer = signer.unwrap_or_else(|error| panic!("{error}"));
        let client = EphemeralPrivateKey::generate(&X25519, &random).unwrap_or_else(|error| panic!("{error}"));
        let share = client.compute_public_key().unwrap_or_else(|error| panic!("{error}")).as_ref().to_vec();
        let tickets = key(&ring::aead::AES_256_GCM, &[9; 32]);
        Self { random, signer, share, tickets }
    }

    /// A handshake, with a signature or with a ticket.
    pub(super) fn shake_hands(&self, resumed: bool) -> Secret {
        let mut random = [0; 32];
        self.random.fill(&mut random).unwrap_or_else(|error| panic!("{error}"));
        let mut transcript = digest::Context::new(&digest::SHA256);
        transcript.update(&BLANK[..if resumed { RESUMING_HELLO } else { CLIENT_HELLO }]);
        let early = if resumed { self.admit(&transcript) } else { extract(&[0; 32], &[0; 32]) };
        let shared = self.agree();
        transcript.update(&BLANK[..SERVER_HELLO]);
        let hello = hash(&transcript);
        let secret = extract(&expand(&early, b"derived", &hash_of(&[])), &shared);
        let client: Secret = expand(&secret, b"c hs traffic", &hello);
        let server: Secret = expand(&secret, b"s hs traffic", &hello);
        let (opener, sealer) = (traffic_key(&client), traffic_key(&server));
        transcript.update(&BLANK[..EXTENSIONS]);
        let mut flight = BLANK;
        let mut len = EXTENSIONS + FINISHED;
        if !resumed {
            transcript.update(&BLANK[..CERTIFICATE]);
            self.sign(&hash(&transcript));
            transcript.update(&BLANK[..SIGNATURE]);
            len += CERTIFICATE + SIGNATURE;
        }
        transcript.update(finished(&server, &transcript).as_ref());
        seal(&sealer, &mut flight[..len]);
        let master = extract(&expand(&secret, b"derived", &hash_of(&[])), &[0; 32]);
        let ends = self.traffic(&master, &hash(&transcript));
        // The client's Finished.
        open(&opener, &mut flight[..FINISHED + 17]);
        transcript.update(finished(&client, &transcript).as_ref());
        self.ticket(&master, &transcript, &ends.1)
    }

    /// Keys of the connection.
    fn traffic(&self, master: &Secret, finished: &Secret) -> (LessSafeKey, LessSafeKey) {
        let client: Secret = expand(master, b"c ap traffic", finished);
        let server: Secret = expand(master, b"s ap traffic", finished);
        std::hint::black_box(expand::<32>(master, b"exp master", finished));
        (traffic_key(&client), traffic_key(&server))
    }

    /// A ticket for the next time, in a record.
    fn ticket(&self, master: &Secret, transcript: &digest::Context, sealer: &LessSafeKey) -> Secret {
        let resumption: Secret = expand(master, b"res master", &hash(transcript));
        let secret = expand(&resumption, b"resumption", &[0; 32]);
        let (mut content, mut message) = ([7; TICKET], [7; TICKET_MESSAGE]);
        seal(&self.tickets, &mut content);
        seal(sealer, &mut message);
        secret
    }

    /// Opens a ticket and checks that the client knows its secret.
    fn admit(&self, transcript: &digest::Context) -> Secret {
        let mut content = [7; TICKET];
        open(&self.tickets, &mut content);
        let early = extract(&[0; 32], &[7; 32]);
        let binder: Secret = expand(&early, b"res binder", &hash_of(&[]));
        std::hint::black_box(finished(&binder, transcript));
        early
    }

    /// A key of this handshake's own, and the secret shared with the client.
    pub(super) fn agree(&self) -> Secret {
        let own = EphemeralPrivateKey::generate(&X25519, &self.random).unwrap_or_else(|error| panic!("{error}"));
        std::hint::black_box(own.compute_public_key().unwrap_or_else(|error| panic!("{error}")));
        let shared = agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, &self.share), |shared| {
            let mut secret = [0; 32];
            secret.copy_from_slice(shared);
            secret
        });
        shared.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Proves to be the certificate's owner.
    pub(super) fn sign(&self, transcript: &Secret) {
        let mut content = [b' '; SIGNED];
        content[SIGNED - 32..].copy_from_slice(transcript);
        let signature = self.signer.sign(&self.random, &content);
        std::hint::black_box(signature.unwrap_or_else(|error| panic!("{error}")));
    }
}

/// The hash of some bytes.
pub(super) fn hash_of(bytes: &[u8]) -> Secret {
    to_secret(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// HKDF-Expand-Label.
pub(super) fn expand<const N: usize>(secret: &Secret, label: &[u8], context: &[u8]) -> [u8; N] {
    let lengths = [0, N as u8, (6 + label.len()) as u8];
    let info = [&lengths[..], b"tls13 ", label, &[context.len() as u8], context];
    let mut out = [0; N];
    let expanded = Prk::new_less_safe(HKDF_SHA256, secret).expand(&info, Length(N)).and_then(|okm| okm.fill(&mut out));
    expanded.unwrap_or_else(|error| panic!("{error}"));
    out
}

/// HKDF-Extract.
fn extract(salt: &Secret, secret: &Secret) -> Secret {
    to_secret(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret).as_ref())
}

/// The hash so far.
fn hash(transcript: &digest::Context) -> Secret {
    to_secret(transcript.clone().finish().as_ref())
}

/// What a Finished message or a binder says.
fn finished(secret: &Secret, transcript: &digest::Context) -> hmac::Tag {
    let key: Secret = expand(secret, b"finished", &[]);
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &hash(transcript))
}

/// Key and initialisation vector of one direction.
fn traffic_key(secret: &Secret) -> LessSafeKey {
    std::hint::black_box(expand::<12>(secret, b"iv", &[]));
    key(&AES_128_GCM, &expand::<16>(secret, b"key", &[]))
}

fn to_secret(bytes: &[u8]) -> Secret {
    let mut secret = [0; 32];
    secret.copy_from_slice(bytes);
    secret
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
