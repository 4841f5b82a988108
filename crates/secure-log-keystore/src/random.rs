//! The passed-in randomness, as the traits that the key crates ask for.

use std::convert::Infallible;
use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rsa::rand_core::{TryCryptoRng, TryRng};
use secure_log::signer::KeyError;
use zeroize::Zeroizing;

use crate::config::FillRandom;

/// Why there is no randomness.
#[derive(Debug)]
pub(crate) struct NoRandomness(String);

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no randomness: {}", self.0)
    }
}

impl std::error::Error for NoRandomness {}

impl From<NoRandomness> for KeyError {
    fn from(error: NoRandomness) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The fill function as a generator that may fail.
pub(crate) struct Random<'a>(pub(crate) &'a mut FillRandom);

impl Random<'_> {
    /// Fills the bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.try_fill_bytes(bytes)
    }

    /// 32 bytes of randomness.
    pub(crate) fn seed(&mut self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        let mut seed = Zeroizing::new([0; 32]);
        self.try_fill_bytes(&mut seed[..])?;
        Ok(seed)
    }

    /// A generator for code that cannot handle a failure half-way: drawn from once, then
    /// ChaCha20.
    pub(crate) fn infallible(
        &mut self,
    ) -> Result<impl rsa::rand_core::CryptoRng + TryRng<Error = Infallible> + use<>, NoRandomness> {
        Ok(ChaCha20Rng::from_seed(*self.seed()?))
    }
}

impl TryRng for Random<'_> {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        (self.0)(bytes).map_err(NoRandomness)
    }
}

impl TryCryptoRng for Random<'_> {}
