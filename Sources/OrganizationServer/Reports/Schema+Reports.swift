extension Schema {
    /// What devices tell beside what they refused.
    static let reports: [(String, String)] = [
        (
            "registries that devices use",
            """
            -- When a device last used a registry; nothing of it is left when the device is removed.
            CREATE TABLE registryUse (
                organization TEXT NOT NULL,
                registry TEXT NOT NULL CHECK (length(registry) BETWEEN 1 AND 300),
                action TEXT NOT NULL CHECK (action IN ('', 'pull', 'push', 'login')), -- '': only the host was seen
                device TEXT NOT NULL,
                day INTEGER NOT NULL, -- since 1970
                PRIMARY KEY (organization, registry, action, device),
                FOREIGN KEY (organization, device) REFERENCES device (organization, id) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX registryUseOfDevice ON registryUse (organization, device, day);
            """
        )
    ]
}
