//! Session tickets: keys that all cores share and that outlive a reload.
//!
//! A ticket restores a session without looking at the client's certificate again, so it is bound to the policy under which
//! that was checked: the policy's fingerprint is authenticated with the ticket. Change the CA bundle, a revocation list or
//! the kind of client authentication, and older tickets do not open; the client makes a full handshake.

use core::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// Seconds after which [`TicketKeys::rotated`] should replace the keys. A ticket opens for one to two periods.
pub const ROTATION_S: u64 = 6 * 60 * 60;

const NAME_LEN: usize = 16;
const KEY_LEN: usize = 32;

/// Fingerprint of the conditions under which a session was admitted.
pub(super) type Policy = [u8; 32];

/// The keys of the present and the previous period. Immutable: whoever publishes the tables keeps the keys across reloads
/// and publishes `rotated` ones every [`ROTATION_S`] seconds; old keys are gone when the last table that holds them is.
#[derive(Clone)]
pub struct TicketKeys {
    current: TicketKey,
    previous: Option<TicketKey>,
}

#[derive(Clone)]
struct TicketKey {
    /// Random; tells the receiver which key to try.
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
}

impl TicketKeys {
    /// New keys from the system's random source.
    ///
    /// # Errors
    /// If that source fails.
    pub fn generate() -> Result<Self, Unspecified> {
        Ok(Self { current: TicketKey::generate()?, previous: None })
    }

    /// A new key for new tickets; those of the current period still open, older ones no longer.
    ///
    /// # Errors
    /// If the system's random source fails.
    pub fn rotated(&self) -> Result<Self, Unspecified> {
        Ok(Self { current: TicketKey::generate()?, previous: Some(self.current.clone()) })
    }
}

impl TicketKey {
    fn generate() -> Result<Self, Unspecified> {
        let random = SystemRandom::new();
        let (mut name, mut key) = ([0; NAME_LEN], [0; KEY_LEN]);
        random.fill(&mut name)?;
        random.fill(&mut key)?;
        Ok(Self { name, aead: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?) })
    }

    /// What is authenticated beside the ticket's content.
    fn context(&self, policy: &Policy) -> [u8; NAME_LEN + 32] {
        let mut context = [0; NAME_LEN + 32];
        context[..NAME_LEN].copy_from_slice(&self.name);
        context[NAME_LEN..].copy_from_slice(policy);
        context
    }

    /// name ‖ nonce ‖ ciphertext ‖ tag. The nonce is random: 96 bits suffice for 2^32 tickets per key and period.
    fn seal(&self, plain: &[u8], policy: &Policy) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce)?;
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let tag = self.aead.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(self.context(policy)),
            &mut ticket[NAME_LEN + NONCE_LEN..],
        )?;
        ticket.extend_from_slice(tag.as_ref());
        Ok(ticket)
    }

    fn open(&self, ticket: &[u8], policy: &Policy) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.strip_prefix(&self.name)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let len = self.aead.open_in_place(nonce, Aad::from(self.context(policy)), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive() // Never the keys.
    }
}

/// The shared keys as one listener's configuration uses them.
#[derive(Debug)]
pub(super) struct PolicyTickets {
    pub(super) keys: Arc<TicketKeys>,
    pub(super) policy: Policy,
}

impl ProducesTickets for PolicyTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        2 * ROTATION_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.current.seal(plain, &self.policy).ok()
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = core::iter::once(&self.keys.current).chain(&self.keys.previous);
        keys.into_iter().find_map(|key| key.open(ticket, &self.policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(keys: &TicketKeys, policy: u8) -> PolicyTickets {
        PolicyTickets { keys: Arc::new(keys.clone()), policy: [policy; 32] }
    }

    #[test]
    fn a_ticket_opens_for_two_periods_and_under_its_policy_only() {
        let keys = TicketKeys::generate().expect("random");
        let ticket = tickets(&keys, 1).encrypt(b"session").expect("sealed");
        assert_eq!(tickets(&keys, 1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets(&keys, 2).decrypt(&ticket), None, "other policy");
        let next = keys.rotated().expect("random");
        assert_eq!(tickets(&next, 1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_ne!(tickets(&next, 1).encrypt(b"session").expect("sealed")[..NAME_LEN], ticket[..NAME_LEN]);
        let later = next.rotated().expect("random");
        assert_eq!(tickets(&later, 1).decrypt(&ticket), None, "key gone");
    }

    #[test]
    fn a_damaged_ticket_does_not_open() {
        let keys = TicketKeys::generate().expect("random");
        let (tickets, plain) = (tickets(&keys, 1), b"session");
        let ticket = tickets.encrypt(plain).expect("sealed");
        for position in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[position] ^= 1;
            assert_eq!(tickets.decrypt(&bad), None, "byte {position}");
            assert_eq!(tickets.decrypt(&ticket[..position]), None, "cut at {position}");
        }
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&plain[..]));
    }
}
