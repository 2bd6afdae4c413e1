extension Schema {
    /// Sign-in, sessions, tokens, teams, invitations.
    static let accounts: [(String, String)] = [
        (
            "access tokens and teams",
            """
            CREATE TABLE accessToken (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                organization TEXT NOT NULL,
                user TEXT NOT NULL,
                name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
                scopes TEXT NOT NULL, -- scopes with a space between them
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL CHECK (expires > created AND expires <= created + 365 * 86400),
                lastUsed INTEGER,
                UNIQUE (organization, user, name),
                -- Whoever leaves the organization leaves no token behind.
                FOREIGN KEY (organization, user) REFERENCES membership (organization, user) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE team (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                name TEXT NOT NULL CHECK (name GLOB '[a-z0-9]*' AND length(name) BETWEEN 3 AND 40),
                created INTEGER NOT NULL,
                PRIMARY KEY (organization, name)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE teamMember (
                organization TEXT NOT NULL,
                team TEXT NOT NULL,
                user TEXT NOT NULL,
                PRIMARY KEY (organization, team, user),
                FOREIGN KEY (organization, team) REFERENCES team (organization, name) ON DELETE CASCADE,
                FOREIGN KEY (organization, user) REFERENCES membership (organization, user) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            """
        )
    ]
}
