//! The methods: the functions of `secure-log:log/store`.

/// A function of `secure-log:log/store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `open`: a handshake. The endpoint has opened its own store; the argument only has to be there.
    Open,
    /// `close`: gives the store to whoever waits. An endpoint opens it again for the next call.
    Close,
    /// `append`.
    Append,
    /// `head`.
    Head,
    /// `read-rows`.
    ReadRows,
    /// `find-id`.
    FindId,
    /// `list-heads`.
    ListHeads,
    /// `query`.
    Query,
    /// `read-object`.
    ReadObject,
    /// `list-objects`.
    ListObjects,
    /// `last-object`.
    LastObject,
    /// `write-tiles`: always denied; the endpoint makes its own.
    WriteTiles,
    /// `read-tile`.
    ReadTile,
    /// `erase-payloads`.
    ErasePayloads,
    /// `backup`.
    Backup,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 15] = [
        Self::Open,
        Self::Close,
        Self::Append,
        Self::Head,
        Self::ReadRows,
        Self::FindId,
        Self::ListHeads,
        Self::Query,
        Self::ReadObject,
        Self::ListObjects,
        Self::LastObject,
        Self::WriteTiles,
        Self::ReadTile,
        Self::ErasePayloads,
        Self::Backup,
    ];

    /// Its name on the wire and in WIT.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::Append => "append",
            Self::Head => "head",
            Self::ReadRows => "read-rows",
            Self::FindId => "find-id",
            Self::ListHeads => "list-heads",
            Self::Query => "query",
            Self::ReadObject => "read-object",
            Self::ListObjects => "list-objects",
            Self::LastObject => "last-object",
            Self::WriteTiles => "write-tiles",
            Self::ReadTile => "read-tile",
            Self::ErasePayloads => "erase-payloads",
            Self::Backup => "backup",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether it changes what is stored: the caller must have shown who it is.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Append | Self::WriteTiles | Self::ErasePayloads | Self::Backup)
    }
}
