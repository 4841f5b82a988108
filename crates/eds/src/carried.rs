//! The components that the program carries.

/// A composed component of dist/, as it was when the program was built.
pub(crate) struct Carried {
    /// Name of its file, without `.wasm`.
    pub name: &'static str,
    /// The component that every host runs.
    pub portable: &'static [u8],
    /// The same with wide arithmetic, for our own engine.
    pub wide: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/carried.rs"));

impl Carried {
    /// The component of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CARRIED.iter().find(|carried| carried.name == name)
    }

    /// What this program runs.
    pub fn bytes(&self) -> &'static [u8] {
        self.wide.unwrap_or(self.portable)
    }
}
