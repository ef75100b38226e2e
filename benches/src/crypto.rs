//! What a handshake costs in ring alone: the public-key work of a TLS 1.3 server and nothing else, so that it is known what a core
//! could reach at most.

use core::hint::black_box;
use core::time::Duration;

use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use tidegate_dataplane::{clock::Clock, io::affinity};

use crate::record::{Better, Measured, metric};

/// Options of `crypto`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which handshake.
    #[arg(value_enum, default_value_t = Handshake::Full)]
    handshake: Handshake,
    /// Seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Bind to this processor.
    #[arg(long)]
    cpu: Option<usize>,
}

/// A kind of TLS 1.3 handshake (RFC 8446 §2).
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Handshake {
    /// A key share (X25519) and a signature (P-256).
    Full,
    /// A key share: a ticket stands for the signature (`psk_dhe_ke`).
    Resumed,
}

/// Why there is no figure.
#[derive(Debug)]
pub(crate) enum CryptoError {
    /// An operation failed; ring does not say why.
    Operation,
    /// The thread could not be bound to this processor.
    Cpu(std::io::Error),
    /// ring does not take the key it has made.
    Key(KeyRejected),
}

impl core::fmt::Display for CryptoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Operation => f.write_str("a cryptographic operation failed"),
            Self::Cpu(error) => write!(f, "cannot run on that processor: {error}"),
            Self::Key(error) => write!(f, "the key was not taken: {error}"),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<Unspecified> for CryptoError {
    fn from(_: Unspecified) -> Self {
        Self::Operation
    }
}

/// Length of what a server signs (RFC 8446 §4.4.3): 64 spaces, a text, a zero and a SHA-256 hash.
const SIGNED: usize = 64 + 33 + 1 + 32;

/// Does one handshake's work after the other.
///
/// # Errors
/// The processor is not there, or ring refuses an operation.
pub(crate) fn run(options: &Options) -> Result<Measured, CryptoError> {
    options.cpu.map_or(Ok(()), affinity::pin).map_err(CryptoError::Cpu)?;
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random).map_err(CryptoError::Key)?;
    let client = EphemeralPrivateKey::generate(&X25519, &random)?.compute_public_key()?;
    let client = UnparsedPublicKey::new(&X25519, client.as_ref().to_vec());
    let message = [0x20; SIGNED];
    let clock = Clock::new();
    let (begun, length) = (clock.now(), Duration::from_secs(options.seconds));
    let (mut done, mut spent) = (0u64, Duration::ZERO);
    while spent < length {
        let share = EphemeralPrivateKey::generate(&X25519, &random)?;
        black_box(share.compute_public_key()?);
        agree_ephemeral(share, &client, |secret| {
            black_box(secret);
        })?;
        if options.handshake == Handshake::Full {
            black_box(key.sign(&random, &message)?);
        }
        done += 1;
        spent = clock.now() - begun;
    }
    let each = spent.as_secs_f64() / done as f64;
    let metrics = vec![
        metric("rate", "handshakes/s", 1.0 / each, Better::Higher),
        metric("work", "us", each * 1e6, Better::Lower),
    ];
    Ok(Measured { metrics, ..Measured::default() })
}
