extension Schema {
    /// Sign-in at an organization's own provider.
    static let singleSignOn: [(String, String)] = [
        (
            "single sign-on",
            """
            CREATE TABLE singleSignOn (
                organization TEXT PRIMARY KEY REFERENCES organization (name) ON DELETE CASCADE,
                issuer TEXT NOT NULL CHECK (issuer LIKE 'https://%' OR issuer LIKE 'http://%'),
                clientID TEXT NOT NULL CHECK (length(clientID) BETWEEN 1 AND 255),
                clientSecret TEXT NOT NULL CHECK (length(clientSecret) BETWEEN 1 AND 1024),
                scopes TEXT NOT NULL, -- with a space between them
                membership TEXT NOT NULL CHECK (membership IN ('invited', 'domain')),
                domains TEXT NOT NULL, -- with a space between them
                CHECK ((membership = 'domain') = (domains <> ''))
            ) STRICT, WITHOUT ROWID;
            -- Who a person of a provider is here, for one organization: what another organization's provider says is nothing
            -- to it. Whoever leaves and comes back is the same.
            CREATE TABLE identity (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                issuer TEXT NOT NULL,
                subject TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
                user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
                email TEXT COLLATE NOCASE, -- as the provider said when they were linked
                created INTEGER NOT NULL,
                PRIMARY KEY (organization, issuer, subject),
                UNIQUE (organization, issuer, user)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX identitiesOfUser ON identity (user);
            -- Whoever sets the provider anew ends the sign-ins that are on their way.
            CREATE TABLE singleSignOnBegun (
                state TEXT PRIMARY KEY CHECK (length(state) = 64), -- digest
                browser TEXT NOT NULL CHECK (length(browser) = 64), -- digest
                organization TEXT NOT NULL REFERENCES singleSignOn (organization) ON DELETE CASCADE,
                purpose TEXT NOT NULL,
                nonce TEXT NOT NULL,
                verifier TEXT NOT NULL,
                expires INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            -- Who has signed in at the provider and is asked who they are here.
            CREATE TABLE singleSignOnStranger (
                confirmation TEXT PRIMARY KEY CHECK (length(confirmation) = 64), -- digest
                browser TEXT NOT NULL CHECK (length(browser) = 64), -- digest
                organization TEXT NOT NULL REFERENCES singleSignOn (organization) ON DELETE CASCADE,
                purpose TEXT NOT NULL,
                issuer TEXT NOT NULL,
                subject TEXT NOT NULL,
                email TEXT,
                preferredName TEXT,
                user TEXT REFERENCES user (name) ON DELETE CASCADE, -- who they are known as, but are no member any more
                expires INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            """
        )
    ]
}
