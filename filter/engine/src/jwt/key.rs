//! One verification key, prepared for use: decoded, checked and bound to its algorithms when it is loaded.

use std::fmt;

use jwt_compact::alg::{Hs256Key, Hs384Key, Hs512Key};
use sha2::{Digest as _, Sha256};

use super::algorithm::{Algorithm, AlgorithmSet, KeyType};
use super::der;

/// A key that verifies tokens. What it may be used for was decided when it was loaded.
pub struct Key {
    kid: Option<String>,
    algorithms: AlgorithmSet,
    material: Material,
    spki_der: Vec<u8>,
    fingerprint: KeyFingerprint,
}

/// The decoded key, one variant for each type of key.
pub(super) enum Material {
    Rsa { key: rsa::RsaPublicKey, modulus_bytes: usize },
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
    Secret { hs256: Hs256Key, hs384: Hs384Key, hs512: Hs512Key },
}

/// Names a key together with what it may be used for: its material, its `kid` and its algorithms.
///
/// Two keys with the same fingerprint judge every token alike. A cache holds it beside a verified token and drops the
/// token once no key set has the fingerprint any more ([`KeySet::contains`](super::KeySet::contains)). Not for logs: for
/// a shared secret it is a hash of the secret, so `Debug` shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyFingerprint([u8; 32]);

impl KeyFingerprint {
    /// The fingerprint's bytes, SHA-256.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFingerprint(..)")
    }
}

/// Why a key's numbers cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeakKey {
    /// An RSA modulus of fewer than 2048 bits (RFC 7518, section 3.3).
    RsaModulusTooShort,
    /// An RSA modulus of more than 8192 bits: verifying with it costs too much.
    RsaModulusTooLong,
    /// An even RSA modulus, or an exponent that is even, below 3 or above 2^33 - 1.
    RsaNumbersInvalid,
    /// The coordinates have the wrong length or are no point on the curve.
    NotOnCurve,
    /// An Ed25519 key of small order or in a non-canonical encoding: one signature would fit many messages.
    Ed25519KeyWeak,
    /// A secret shorter than the hash of the algorithm (RFC 7518, section 3.2).
    SecretTooShort,
}

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RsaModulusTooShort => "the RSA modulus has fewer than 2048 bits",
            Self::RsaModulusTooLong => "the RSA modulus has more than 8192 bits",
            Self::RsaNumbersInvalid => "the RSA modulus or exponent is not usable",
            Self::NotOnCurve => "the coordinates are no point on the curve",
            Self::Ed25519KeyWeak => "the Ed25519 key is of small order or not canonical",
            Self::SecretTooShort => "the secret is shorter than the hash (32, 48 or 64 bytes)",
        })
    }
}

impl std::error::Error for WeakKey {}

impl Key {
    /// An RSA key from its modulus and public exponent, unsigned and big-endian; leading zeros do not count.
    ///
    /// A modulus of 8k + 1 bits does not serve `PS*`: its padding has a byte that not every library looks at.
    ///
    /// # Errors
    /// [`WeakKey`] unless the modulus has 2048 to 8192 bits and is odd, and the exponent is odd, at least 3 and below 2^33.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, WeakKey> {
        // Before any arithmetic, so that a giant number costs nothing.
        let modulus = without_leading_zeros(modulus);
        let exponent = without_leading_zeros(exponent);
        if modulus.len() > MAX_RSA_BITS / 8 {
            return Err(WeakKey::RsaModulusTooLong);
        }
        if exponent.len() > 5 {
            return Err(WeakKey::RsaNumbersInvalid);
        }
        let n = rsa::BigUint::from_bytes_be(modulus);
        if n.bits() < MIN_RSA_BITS {
            return Err(WeakKey::RsaModulusTooShort);
        }
        let e = exponent.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        if e < 3 || e.is_multiple_of(2) || e >= 1 << 33 {
            return Err(WeakKey::RsaNumbersInvalid);
        }
        let bits = n.bits();
        let key =
            rsa::RsaPublicKey::new_with_max_size(n, e.into(), MAX_RSA_BITS).map_err(|_| WeakKey::RsaNumbersInvalid)?;
        let algorithms = AlgorithmSet::for_key_type(KeyType::Rsa)
            .iter()
            .filter(|algorithm| bits % 8 != 1 || !is_pss(*algorithm))
            .collect();
        let material = Material::Rsa { key, modulus_bytes: modulus.len() };
        Ok(Self::new(material, algorithms, der::rsa_spki(modulus, exponent)))
    }

    /// A key on P-256 from its coordinates, 32 bytes each.
    ///
    /// # Errors
    /// [`WeakKey::NotOnCurve`]
    pub fn p256(x: &[u8], y: &[u8]) -> Result<Self, WeakKey> {
        let point = uncompressed_point::<32>(x, y)?;
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| WeakKey::NotOnCurve)?;
        Ok(Self::new(Material::P256(key), AlgorithmSet::only(Algorithm::Es256), der::p256_spki(&point)))
    }

    /// A key on P-384 from its coordinates, 48 bytes each.
    ///
    /// # Errors
    /// [`WeakKey::NotOnCurve`]
    pub fn p384(x: &[u8], y: &[u8]) -> Result<Self, WeakKey> {
        let point = uncompressed_point::<48>(x, y)?;
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| WeakKey::NotOnCurve)?;
        Ok(Self::new(Material::P384(key), AlgorithmSet::only(Algorithm::Es384), der::p384_spki(&point)))
    }

    /// An Ed25519 key from its 32 bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`WeakKey::NotOnCurve`] where the bytes decode to no point, [`WeakKey::Ed25519KeyWeak`] where the point is of small
    /// order or has a second encoding.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, WeakKey> {
        let bytes = <&[u8; 32]>::try_from(bytes).map_err(|_| WeakKey::NotOnCurve)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| WeakKey::NotOnCurve)?;
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(WeakKey::Ed25519KeyWeak);
        }
        Ok(Self::new(Material::Ed25519(key), AlgorithmSet::only(Algorithm::EdDsa), der::ed25519_spki(bytes)))
    }

    /// A shared secret. It serves those of HS256, HS384 and HS512 whose hash is no longer than the secret.
    ///
    /// # Errors
    /// [`WeakKey::SecretTooShort`] below 32 bytes, where no algorithm is left.
    pub fn secret(secret: &[u8]) -> Result<Self, WeakKey> {
        let algorithms: AlgorithmSet = [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)]
            .into_iter()
            .filter(|(_, hash_bytes)| secret.len() >= *hash_bytes)
            .map(|(algorithm, _)| algorithm)
            .collect();
        if algorithms.is_empty() {
            return Err(WeakKey::SecretTooShort);
        }
        let material = Material::Secret {
            hs256: Hs256Key::new(secret),
            hs384: Hs384Key::new(secret),
            hs512: Hs512Key::new(secret),
        };
        let mut key =
            Self { kid: None, algorithms, material, spki_der: Vec::new(), fingerprint: KeyFingerprint([0; 32]) };
        key.fingerprint = key.compute_fingerprint();
        Ok(key)
    }

    /// This key under the name `kid`.
    #[must_use]
    pub fn with_kid(mut self, kid: Option<String>) -> Self {
        self.kid = kid;
        self.fingerprint = self.compute_fingerprint();
        self
    }

    /// This key for `algorithms` only, as far as it serves them at all. A key that serves nothing verifies nothing.
    #[must_use]
    pub fn only_for(mut self, algorithms: AlgorithmSet) -> Self {
        self.algorithms = self.algorithms.intersection(algorithms);
        self.fingerprint = self.compute_fingerprint();
        self
    }

    /// The key's name in its key set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms that this key verifies.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// The key's name for caches.
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.fingerprint
    }

    /// The public key as X.509 SubjectPublicKeyInfo in DER; nothing for a shared secret.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    pub(super) fn material(&self) -> &Material {
        &self.material
    }

    fn new(material: Material, algorithms: AlgorithmSet, spki_der: Vec<u8>) -> Self {
        let mut key = Self { kid: None, algorithms, material, spki_der, fingerprint: KeyFingerprint([0; 32]) };
        key.fingerprint = key.compute_fingerprint();
        key
    }

    fn compute_fingerprint(&self) -> KeyFingerprint {
        let mut hash = Sha256::new();
        hash.update(b"portcullis key");
        hash.update(self.algorithms.bits().to_be_bytes());
        // A length before each text, so that no two keys run together to the same bytes.
        let kid = self.kid.as_deref();
        hash.update([u8::from(kid.is_some())]);
        let material = match &self.material {
            Material::Secret { hs512, .. } => hs512.as_ref(),
            _ => self.spki_der.as_slice(),
        };
        for bytes in [kid.unwrap_or_default().as_bytes(), material] {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        }
        KeyFingerprint(hash.finalize().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

const fn is_pss(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512)
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

/// The SEC1 encoding 0x04, x, y; `COORDINATE` is the length of each in bytes (RFC 7518, section 6.2.1.2).
fn uncompressed_point<const COORDINATE: usize>(x: &[u8], y: &[u8]) -> Result<Vec<u8>, WeakKey> {
    if x.len() != COORDINATE || y.len() != COORDINATE {
        return Err(WeakKey::NotOnCurve);
    }
    Ok([&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(bits: usize) -> Vec<u8> {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = 0xff >> ((8 - bits % 8) % 8);
        n
    }

    fn refused(key: Result<Key, WeakKey>) -> WeakKey {
        key.unwrap_err()
    }

    #[test]
    fn rsa_keys_have_2048_to_8192_bits() {
        assert!(Key::rsa(&modulus(2048), &[1, 0, 1]).is_ok());
        assert!(Key::rsa(&modulus(8192), &[3]).is_ok());
        for bits in [8, 512, 1024, 2047] {
            assert_eq!(refused(Key::rsa(&modulus(bits), &[1, 0, 1])), WeakKey::RsaModulusTooShort);
        }
        for bits in [8193, 8200, 100_000] {
            assert_eq!(refused(Key::rsa(&modulus(bits), &[1, 0, 1])), WeakKey::RsaModulusTooLong);
        }
        assert_eq!(refused(Key::rsa(&[], &[1, 0, 1])), WeakKey::RsaModulusTooShort);
    }

    #[test]
    fn an_rsa_key_with_unusable_numbers_is_refused() {
        let mut even = modulus(2048);
        even[255] = 0xfe;
        assert_eq!(refused(Key::rsa(&even, &[1, 0, 1])), WeakKey::RsaNumbersInvalid);
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1], &[0xff; 200]] {
            assert_eq!(refused(Key::rsa(&modulus(2048), exponent)), WeakKey::RsaNumbersInvalid, "{exponent:?}");
        }
        assert!(Key::rsa(&modulus(2048), &[1, 0xff, 0xff, 0xff, 0xff]).is_ok());
    }

    #[test]
    fn leading_zeros_do_not_make_another_rsa_key() {
        let padded = [&[0, 0][..], &modulus(2048)].concat();
        let key = Key::rsa(&padded, &[0, 1, 0, 1]).unwrap();
        assert_eq!(key.fingerprint(), Key::rsa(&modulus(2048), &[1, 0, 1]).unwrap().fingerprint());
        let short = [&[0; 128][..], &modulus(1024)].concat();
        assert_eq!(refused(Key::rsa(&short, &[1, 0, 1])), WeakKey::RsaModulusTooShort);
    }

    #[test]
    fn an_odd_bit_length_leaves_pss_out() {
        let key = Key::rsa(&modulus(2049), &[1, 0, 1]).unwrap();
        assert!(key.algorithms().contains(Algorithm::Rs256));
        assert!(!key.algorithms().iter().any(is_pss));
        assert!(Key::rsa(&modulus(2050), &[1, 0, 1]).unwrap().algorithms().contains(Algorithm::Ps512));
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        assert_eq!(refused(Key::p256(&[1; 32], &[1; 32])), WeakKey::NotOnCurve);
        assert_eq!(refused(Key::p256(&[0; 32], &[0; 32])), WeakKey::NotOnCurve);
        assert_eq!(refused(Key::p256(&[1; 31], &[1; 33])), WeakKey::NotOnCurve);
        assert_eq!(refused(Key::p256(&[], &[])), WeakKey::NotOnCurve);
        assert_eq!(refused(Key::p384(&[1; 48], &[1; 48])), WeakKey::NotOnCurve);
        assert_eq!(refused(Key::p384(&[1; 32], &[1; 32])), WeakKey::NotOnCurve);
    }

    #[test]
    fn an_ed25519_key_of_small_order_or_with_a_second_encoding_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(refused(Key::ed25519(&identity)), WeakKey::Ed25519KeyWeak);
        assert_eq!(refused(Key::ed25519(&[0; 32])), WeakKey::Ed25519KeyWeak);
        for length in [0, 31, 33] {
            assert_eq!(refused(Key::ed25519(&vec![9; length])), WeakKey::NotOnCurve);
        }
        // y = p + k for the few k that fit into 255 bits: the same point as y = k, spelt differently.
        for k in 0..19_u8 {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed + k;
            bytes[31] = 0x7f;
            assert!(Key::ed25519(&bytes).is_err(), "p + {k}");
        }
    }

    #[test]
    fn a_secret_serves_the_hashes_that_it_is_long_enough_for() {
        assert_eq!(refused(Key::secret(&[1; 31])), WeakKey::SecretTooShort);
        assert_eq!(refused(Key::secret(&[])), WeakKey::SecretTooShort);
        let serves = |bytes: usize| Key::secret(&vec![1; bytes]).unwrap().algorithms().iter().collect::<Vec<_>>();
        assert_eq!(serves(32), [Algorithm::Hs256]);
        assert_eq!(serves(47), [Algorithm::Hs256]);
        assert_eq!(serves(48), [Algorithm::Hs256, Algorithm::Hs384]);
        assert_eq!(serves(64), [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]);
    }

    #[test]
    fn the_fingerprint_changes_with_the_material_the_kid_and_the_algorithms() {
        let key = || Key::secret(&[1; 64]).unwrap();
        let all = [
            key(),
            Key::secret(&[2; 64]).unwrap(),
            key().with_kid(Some(String::new())),
            key().with_kid(Some("a".into())),
            key().only_for(AlgorithmSet::only(Algorithm::Hs256)),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.fingerprint() == b.fingerprint(), i == j);
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Key::secret(&[0x41; 64]).unwrap());
        assert!(!shown.contains("65") && !shown.contains("AAAA"), "{shown}");
    }
}
