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
        ),
        (
            "sessions, sign-in of devices, invitations",
            """
            CREATE TABLE session (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE CHECK (length(id) = 26),
                user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
                organization TEXT REFERENCES organization (name) ON DELETE CASCADE, -- NULL: each of the user's
                device TEXT,
                accessToken TEXT, -- digest of the access token that began it
                scopes TEXT, -- NULL: all that the role allows
                address TEXT NOT NULL,
                created INTEGER NOT NULL,
                access TEXT NOT NULL UNIQUE CHECK (length(access) = 64),
                accessExpires INTEGER NOT NULL,
                refresh TEXT NOT NULL UNIQUE CHECK (length(refresh) = 64),
                earlierRefresh TEXT UNIQUE CHECK (length(earlierRefresh) = 64),
                refreshed INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                ended INTEGER,
                CHECK (device IS NULL OR organization IS NOT NULL),
                CHECK (expires <= created + 90 * 86400),
                FOREIGN KEY (organization, device) REFERENCES device (organization, id) ON DELETE CASCADE
            ) STRICT;
            -- One member is signed in on a device.
            CREATE UNIQUE INDEX sessionOfDevice ON session (organization, device)
            WHERE ended IS NULL AND device IS NOT NULL;
            CREATE INDEX sessionsOfDevice ON session (organization, device, number);
            CREATE INDEX sessionsOfUser ON session (user, organization);
            CREATE INDEX sessionOfAccessToken ON session (accessToken) WHERE accessToken IS NOT NULL;
            CREATE TRIGGER endedSessionStaysEnded BEFORE UPDATE OF ended ON session
            WHEN OLD.ended IS NOT NULL AND NEW.ended IS NOT OLD.ended
            BEGIN SELECT RAISE(ABORT, 'a session that has ended does not begin again'); END;
            CREATE TRIGGER leavingEndsSessions AFTER DELETE ON membership
            BEGIN UPDATE session SET ended = unixepoch()
                WHERE organization = OLD.organization AND user = OLD.user AND ended IS NULL; END;
            CREATE TRIGGER accessTokenEndsSessions AFTER DELETE ON accessToken
            BEGIN UPDATE session SET ended = unixepoch() WHERE accessToken = OLD.digest AND ended IS NULL; END;
            CREATE TABLE usedRefreshToken (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX usedRefreshTokensOfSession ON usedRefreshToken (session);
            CREATE TABLE deviceAuthorization (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                userCode TEXT NOT NULL UNIQUE CHECK (length(userCode) = 8),
                organization TEXT NOT NULL, -- perhaps one that is not there: the person learns that, not the machine
                deviceName TEXT NOT NULL CHECK (length(deviceName) BETWEEN 1 AND 255),
                address TEXT NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                interval INTEGER NOT NULL,
                lastPoll INTEGER,
                confirmation TEXT UNIQUE, -- digest of what the person's browser shows to approve
                user TEXT REFERENCES user (name) ON DELETE CASCADE, -- who signed in to decide
                decision TEXT CHECK (decision IN ('approved', 'denied')),
                CHECK (decision IS NULL OR user IS NOT NULL)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE invitation (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                email TEXT COLLATE NOCASE,
                role TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'auditor', 'member')),
                inviter TEXT NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL CHECK (expires > created AND expires <= created + 30 * 86400),
                -- Whoever leaves takes their invitations back.
                FOREIGN KEY (organization, inviter) REFERENCES membership (organization, user) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX invitationsOfOrganization ON invitation (organization, created);
            """
        ),
        (
            "renamed teams",
            """
            CREATE INDEX teamsOfMember ON teamMember (organization, user, team);
            -- Versions of the policy before this one know the team by its earlier name.
            CREATE TABLE teamRename (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                policyVersion INTEGER NOT NULL,
                earlier TEXT NOT NULL,
                later TEXT NOT NULL
            ) STRICT;
            CREATE INDEX teamRenameOfOrganization ON teamRename (organization, number);
            """
        ),
        (
            "invitations and access tokens end with what made them",
            """
            -- Only owners invite: who is none any more takes their invitations back, as who leaves does.
            CREATE TRIGGER invitationsEndWithOwnership AFTER UPDATE OF role ON membership
            WHEN OLD.role = 'owner' AND NEW.role <> 'owner'
            BEGIN DELETE FROM invitation WHERE organization = NEW.organization AND inviter = NEW.user; END;
            DELETE FROM invitation WHERE NOT EXISTS (SELECT 1 FROM membership
                WHERE membership.organization = invitation.organization AND user = inviter AND role = 'owner');
            -- The access token by which it was made.
            ALTER TABLE accessToken ADD COLUMN maker TEXT REFERENCES accessToken (digest) ON DELETE CASCADE;
            CREATE INDEX accessTokenOfMaker ON accessToken (maker) WHERE maker IS NOT NULL;
            """
        ),
        (
            "links for new passwords",
            """
            CREATE TABLE passwordReset (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                organization TEXT NOT NULL,
                user TEXT NOT NULL UNIQUE, -- a new one takes the place of the one before
                maker TEXT NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL CHECK (expires > created AND expires <= created + 86400),
                FOREIGN KEY (organization, user) REFERENCES membership (organization, user) ON DELETE CASCADE,
                -- Whoever leaves takes their links back.
                FOREIGN KEY (organization, maker) REFERENCES membership (organization, user) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            -- No owner gets at somebody who belongs to another organization as well.
            CREATE TRIGGER passwordResetOfOwnPeople BEFORE INSERT ON passwordReset
            WHEN EXISTS (SELECT 1 FROM membership WHERE user = NEW.user AND organization <> NEW.organization)
                OR NOT EXISTS (SELECT 1 FROM membership
                    WHERE organization = NEW.organization AND user = NEW.maker AND role = 'owner')
            BEGIN SELECT RAISE(ABORT, 'only an owner, and only of whom belongs nowhere else'); END;
            CREATE TRIGGER joiningEndsPasswordReset AFTER INSERT ON membership
            BEGIN DELETE FROM passwordReset WHERE user = NEW.user AND organization <> NEW.organization; END;
            CREATE TRIGGER steppingDownEndsPasswordReset AFTER UPDATE OF role ON membership WHEN NEW.role <> 'owner'
            BEGIN DELETE FROM passwordReset WHERE organization = NEW.organization AND maker = NEW.user; END;
            """
        ),
        (
            "sign-ins for administration",
            """
            -- Whether the session may do everything that the person may, and not only what that of a machine may.
            ALTER TABLE deviceAuthorization ADD COLUMN isForAdministration INTEGER NOT NULL DEFAULT 0
                CHECK (isForAdministration IN (0, 1));
            """
        ),
    ]
}
