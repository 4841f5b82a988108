//! Public keys of tokens as SubjectPublicKeyInfo.
