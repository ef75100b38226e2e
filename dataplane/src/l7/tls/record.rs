//! The record layer of an established connection: ring's AEADs on records where they lie (RFC 8446 §5.2, RFC 5246 §6.2.3.3,
//! RFC 5288, RFC 7905).

use core::ops::Range;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{AlertDescription, ConnectionTrafficSecrets};

use super::TlsError;

/// Bytes in front of every record.
const HEADER: usize = 5;
/// Largest plaintext of one record (RFC 8446 §5.1).
pub(super) const FRAGMENT: usize = 1 << 14;
/// More than any suite adds to a record: header, explicit nonce, content type, tag.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT + 1 + TAG;
/// The part of a nonce that AES-GCM sends along in TLS 1.2 (RFC 5288 §3).
const EXPLICIT: usize = 8;
const TAG: usize = 16;

/// What a record carries (RFC 8446 §5.1).
pub(super) mod content {
    pub(in super::super) const ALERT: u8 = 21;
    pub(in super::super) const HANDSHAKE: u8 = 22;
    pub(in super::super) const DATA: u8 = 23;
}

/// Why a connection cannot go on, and what the peer is told (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) error: TlsError,
    pub(super) alert: Option<AlertDescription>,
}

impl Fault {
    /// The peer broke the protocol.
    pub(super) fn misbehaved(alert: AlertDescription) -> Self {
        Self { error: TlsError::Misbehaved, alert: Some(alert) }
    }

    /// This side is at fault.
    pub(super) fn internal() -> Self {
        Self { error: TlsError::Internal, alert: Some(AlertDescription::InternalError) }
    }
}

/// How a suite makes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The type is encrypted with the content.
    Tls13,
    /// TLS 1.2, AES-GCM: half of the nonce is sent along.
    Explicit,
    /// TLS 1.2, ChaCha20-Poly1305: the nonce is that of TLS 1.3.
    Implicit,
}

/// The key of one direction.
struct Key {
    aead: LessSafeKey,
    iv: [u8; NONCE_LEN],
    shape: Shape,
    /// Number of the next record.
    seq: u64,
}

impl Key {
    fn new(secrets: &ConnectionTrafficSecrets, seq: u64, tls13: bool) -> Result<Self, TlsError> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(TlsError::Internal),
        };
        let iv = iv.as_ref().try_into().map_err(|_| TlsError::Internal)?;
        Self::of(algorithm, key.as_ref(), iv, seq, tls13).ok_or(TlsError::Internal)
    }

    fn of(algorithm: &'static Algorithm, key: &[u8], iv: [u8; NONCE_LEN], seq: u64, tls13: bool) -> Option<Self> {
        let shape = match tls13 {
            true => Shape::Tls13,
            false if *algorithm == CHACHA20_POLY1305 => Shape::Implicit,
            false => Shape::Explicit,
        };
        let aead = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self { aead, iv, shape, seq })
    }

    /// Number of the record to make or to open. The numbers of a key must never begin again (RFC 8446 §5.3).
    fn count(&mut self) -> Option<u64> {
        let seq = self.seq;
        self.seq = seq.checked_add(1)?;
        Some(seq)
    }

    /// RFC 8446 §5.3. rustls uses the same construction for TLS 1.2, so none of its nonces come again.
    fn nonce(&self, seq: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(seq.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }

    fn explicit(&self) -> usize {
        if self.shape == Shape::Explicit { EXPLICIT } else { 0 }
    }

    /// What a record has besides header and content.
    fn expansion(&self) -> usize {
        TAG + if self.shape == Shape::Tls13 { 1 } else { self.explicit() }
    }

    /// What is authenticated beside the content: in TLS 1.3 the header, in TLS 1.2 the number and the header of the
    /// plaintext.
    fn context(&self, seq: u64, header: [u8; HEADER], plain: usize) -> ([u8; 13], Range<usize>) {
        let mut context = [0; 13];
        context[..8].copy_from_slice(&seq.to_be_bytes());
        context[8..].copy_from_slice(&header);
        if self.shape == Shape::Tls13 {
            return (context, 8..13);
        }
        context[11..].copy_from_slice(&(plain as u16).to_be_bytes());
        (context, 0..13)
    }
}

/// Makes records.
pub(super) struct Sealer {
    key: Key,
    /// Records that this key may make.
    limit: u64,
}

impl Sealer {
    /// `limit`: how many records the suite may safely make with one key (RFC 8446 §5.5).
    pub(super) fn new(secrets: &ConnectionTrafficSecrets, seq: u64, tls13: bool, limit: u64) -> Result<Self, TlsError> {
        Ok(Self { key: Key::new(secrets, seq, tls13)?, limit })
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.key.shape == Shape::Tls13
    }

    /// Where in a record its content begins.
    pub(super) fn prefix(&self) -> usize {
        HEADER + self.key.explicit()
    }

    /// Whether the key must be replaced. The last numbers are for what is said about that.
    pub(super) fn is_worn(&self) -> bool {
        self.key.seq >= self.limit - RESERVED
    }

    /// Is worn after `records` more; gives the limit of a new key that is worn after as many.
    #[cfg(test)]
    pub(super) fn limit_to(&mut self, records: u64) -> u64 {
        self.limit = self.key.seq + records + RESERVED;
        records + RESERVED
    }

    /// Records made.
    #[cfg(test)]
    pub(super) fn made(&self) -> u64 {
        self.key.seq
    }

    /// Makes a record of the `len` bytes at `prefix()` and tells its length.
    pub(super) fn seal(&mut self, content: u8, record: &mut [u8], len: usize) -> Result<usize, Fault> {
        let seq = self.key.count().filter(|seq| *seq < self.limit).ok_or(Fault::internal())?;
        let nonce = self.key.nonce(seq);
        let (prefix, tls13) = (self.prefix(), self.is_tls13());
        let total = HEADER + len + self.key.expansion();
        let opaque = if tls13 { content::DATA } else { content };
        let [high, low] = ((total - HEADER) as u16).to_be_bytes();
        let header = [opaque, 3, 3, high, low];
        record[..HEADER].copy_from_slice(&header);
        record[HEADER..prefix].copy_from_slice(&nonce[NONCE_LEN - self.key.explicit()..]);
        let mut end = prefix + len;
        if tls13 {
            record[end] = content;
            end += 1;
        }
        let (context, part) = self.key.context(seq, header, len);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed =
            self.key.aead.seal_in_place_separate_tag(nonce, Aad::from(&context[part]), &mut record[prefix..end]);
        let tag = sealed.map_err(|_| Fault::internal())?;
        record[end..total].copy_from_slice(tag.as_ref());
        Ok(total)
    }
}

/// Opens records.
pub(super) struct Opener(Key);

impl Opener {
    pub(super) fn new(secrets: &ConnectionTrafficSecrets, seq: u64, tls13: bool) -> Result<Self, TlsError> {
        Key::new(secrets, seq, tls13).map(Self)
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.0.shape == Shape::Tls13
    }

    /// Bytes of the record that begins with `bytes`, or of its header if that is not complete.
    pub(super) fn needed(&self, bytes: &[u8]) -> Result<usize, Fault> {
        // RFC 8446 §5.2 and RFC 5246 §6.2.3.
        let most = FRAGMENT + if self.is_tls13() { 256 } else { 2048 };
        match bytes {
            [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([*high, *low])) {
                len if len > most => Err(Fault::misbehaved(AlertDescription::RecordOverflow)),
                len => Ok(HEADER + len),
            },
            _ => Ok(HEADER),
        }
    }

    /// Opens one whole record where it lies; tells what it carries and where that is.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Fault> {
        let mut header = [0; HEADER];
        header.copy_from_slice(&record[..HEADER]);
        if self.is_tls13() && header[0] != content::DATA {
            return Err(Fault::misbehaved(AlertDescription::UnexpectedMessage));
        }
        let damaged = Fault::misbehaved(AlertDescription::BadRecordMac);
        let key = &mut self.0;
        let prefix = HEADER + key.explicit();
        let plain = record.len().checked_sub(prefix + TAG).ok_or(damaged)?;
        let seq = key.count().ok_or(damaged)?;
        let mut nonce = key.nonce(seq);
        nonce[NONCE_LEN - key.explicit()..].copy_from_slice(&record[HEADER..prefix]);
        let (context, part) = key.context(seq, header, plain);
        let opened = key.aead.open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&context[part]),
            &mut record[prefix..],
        );
        let opened = opened.map_err(|_| damaged)?;
        if key.shape != Shape::Tls13 {
            return within_limit(header[0], prefix, plain);
        }
        // RFC 8446 §5.4: the last byte that is not padding is the type.
        if opened.len() > FRAGMENT + 1 {
            return Err(Fault::misbehaved(AlertDescription::RecordOverflow));
        }
        let last = opened.iter().rposition(|byte| *byte != 0);
        let last = last.ok_or(Fault::misbehaved(AlertDescription::UnexpectedMessage))?;
        within_limit(opened[last], prefix, last)
    }
}

fn within_limit(content: u8, prefix: usize, len: usize) -> Result<(u8, Range<usize>), Fault> {
    match len {
        0..=FRAGMENT => Ok((content, prefix..prefix + len)),
        _ => Err(Fault::misbehaved(AlertDescription::RecordOverflow)),
    }
}

/// Records at the end of a key's life that carry no data: a key update, alerts.
const RESERVED: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [(&Algorithm, bool); 6] = [
        (&AES_128_GCM, true),
        (&AES_256_GCM, true),
        (&CHACHA20_POLY1305, true),
        (&AES_128_GCM, false),
        (&AES_256_GCM, false),
        (&CHACHA20_POLY1305, false),
    ];

    fn pair(algorithm: &'static Algorithm, tls13: bool, seq: u64, limit: u64) -> (Sealer, Opener) {
        let key = || Key::of(algorithm, &[9; 32][..algorithm.key_len()], [7; NONCE_LEN], seq, tls13).expect("a key");
        (Sealer { key: key(), limit }, Opener(key()))
    }

    fn sealed(sealer: &mut Sealer, content: u8, plain: &[u8]) -> Vec<u8> {
        let mut record = vec![0; plain.len() + OVERHEAD];
        let prefix = sealer.prefix();
        record[prefix..prefix + plain.len()].copy_from_slice(plain);
        let total = sealer.seal(content, &mut record, plain.len()).expect("sealed");
        record.truncate(total);
        record
    }

    fn refused(alert: AlertDescription) -> Fault {
        Fault::misbehaved(alert)
    }

    #[test]
    fn what_is_sealed_opens_once_and_in_order() {
        for (algorithm, tls13) in ALL {
            let (mut sealer, mut opener) = pair(algorithm, tls13, 3, 1 << 20);
            let records: Vec<_> =
                [0, 1, 100, FRAGMENT].map(|len| (len, sealed(&mut sealer, content::DATA, &vec![5; len]))).into();
            for (len, record) in &records {
                assert_eq!(opener.needed(&record[..4]), Ok(HEADER));
                assert_eq!(opener.needed(record), Ok(record.len()), "{algorithm:?}");
                assert!(record.len() <= len + OVERHEAD);
                let mut record = record.clone();
                let (kind, at) = opener.open(&mut record).expect("opens");
                assert_eq!((kind, &record[at]), (content::DATA, &vec![5; *len][..]));
            }
            let again = opener.open(&mut records[0].1.clone());
            assert_eq!(again, Err(refused(AlertDescription::BadRecordMac)), "{algorithm:?}");
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        for (algorithm, tls13) in ALL {
            let (mut sealer, _) = pair(algorithm, tls13, 0, 1 << 20);
            let record = sealed(&mut sealer, content::ALERT, &[1, 0]);
            // In TLS 1.2 the length is not authenticated as such: it decides what is taken for the record.
            let length = if tls13 { 0..0 } else { 24..40 };
            for bit in (0..record.len() * 8).filter(|bit| !length.contains(bit)) {
                let mut damaged = record.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let (_, mut opener) = pair(algorithm, tls13, 0, 1 << 20);
                assert!(opener.open(&mut damaged).is_err(), "{algorithm:?}, bit {bit}");
            }
            for len in HEADER..record.len() {
                let (_, mut opener) = pair(algorithm, tls13, 0, 1 << 20);
                assert!(opener.open(&mut record[..len].to_vec()).is_err(), "{algorithm:?}, {len} bytes");
            }
        }
    }

    #[test]
    fn padding_is_taken_off_and_nothing_but_padding_is_refused() {
        let (mut sealer, mut opener) = pair(&AES_128_GCM, true, 0, 1 << 20);
        // The sealer's own type byte becomes padding if it is 0.
        let mut padded = sealed(&mut sealer, 0, &[b'a', b'b', content::DATA, 0, 0, 0]);
        let (kind, at) = opener.open(&mut padded).expect("opens");
        assert_eq!((kind, &padded[at]), (content::DATA, &b"ab"[..]));
        let mut empty = sealed(&mut sealer, 0, &[0; 40]);
        assert_eq!(opener.open(&mut empty), Err(refused(AlertDescription::UnexpectedMessage)));
    }

    #[test]
    fn records_are_no_longer_than_allowed() {
        let overflow = Err(refused(AlertDescription::RecordOverflow));
        for (algorithm, tls13) in ALL {
            let (mut sealer, mut opener) = pair(algorithm, tls13, 0, 1 << 20);
            assert_eq!(opener.open(&mut sealed(&mut sealer, content::DATA, &vec![1; FRAGMENT + 1])), overflow);
            let most = (FRAGMENT + if tls13 { 256 } else { 2048 }) as u16;
            let header = |len: u16| [content::DATA, 3, 3, len.to_be_bytes()[0], len.to_be_bytes()[1]];
            assert_eq!(opener.needed(&header(most)), Ok(HEADER + usize::from(most)));
            assert_eq!(opener.needed(&header(most + 1)), Err(refused(AlertDescription::RecordOverflow)));
        }
    }

    #[test]
    fn in_tls_1_3_the_type_outside_is_that_of_data() {
        let (mut sealer, mut opener) = pair(&AES_128_GCM, true, 0, 1 << 20);
        let mut record = sealed(&mut sealer, content::ALERT, &[1, 0]);
        assert_eq!(record[0], content::DATA);
        record[0] = content::ALERT;
        assert_eq!(opener.open(&mut record), Err(refused(AlertDescription::UnexpectedMessage)));
    }

    #[test]
    fn numbers_never_begin_again() {
        let (mut sealer, mut opener) = pair(&CHACHA20_POLY1305, true, u64::MAX - 1, u64::MAX);
        assert!(sealer.is_worn());
        let record = sealed(&mut sealer, content::DATA, b"last");
        assert!(opener.open(&mut record.clone()).is_ok());
        assert_eq!(sealer.seal(content::DATA, &mut [0; 64], 4), Err(Fault::internal()));
        // Neither this record nor the one that is first again is a next one.
        let (mut first, _) = pair(&CHACHA20_POLY1305, true, 0, u64::MAX);
        for mut again in [record, sealed(&mut first, content::DATA, b"first")] {
            assert_eq!(opener.open(&mut again), Err(refused(AlertDescription::BadRecordMac)));
        }
    }

    #[test]
    fn a_key_makes_no_more_records_than_its_suite_allows() {
        let (mut sealer, _) = pair(&AES_128_GCM, true, 0, RESERVED + 2);
        for _ in 0..RESERVED + 2 {
            assert_eq!(sealer.is_worn(), sealer.key.seq >= 2);
            sealed(&mut sealer, content::DATA, b"x");
        }
        assert_eq!(sealer.seal(content::DATA, &mut [0; 64], 4), Err(Fault::internal()));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_record_by_chance(mut bytes in prop::collection::vec(any::<u8>(), 5..200), suite in 0usize..6) {
            let (_, mut opener) = pair(ALL[suite].0, ALL[suite].1, 0, 1 << 20);
            bytes[0] = content::DATA;
            prop_assert!(opener.open(&mut bytes).is_err());
        }
    }
}
