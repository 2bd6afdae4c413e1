extension Schema {
    /// Devices, policies, signed documents, reports.
    static let policies: [(String, String)] = [
        (
            "devices",
            """
            CREATE TABLE device (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                id TEXT NOT NULL CHECK (length(id) BETWEEN 16 AND 64),
                name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
                digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64), -- of its secret
                created INTEGER NOT NULL,
                lastSeen INTEGER,
                PRIMARY KEY (organization, id)
            ) STRICT, WITHOUT ROWID;
            """
        )
    ]
}
