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
        ),
        (
            "signed documents",
            """
            CREATE TABLE rootDocument (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                version INTEGER NOT NULL CHECK (version >= 1),
                envelope BLOB NOT NULL,
                created INTEGER NOT NULL,
                PRIMARY KEY (organization, version)
            ) STRICT;
            CREATE TRIGGER rootDocumentFollowsTheLast BEFORE INSERT ON rootDocument
            WHEN NEW.version <> 1 + coalesce(
                (SELECT max(version) FROM rootDocument WHERE organization = NEW.organization), 0)
            BEGIN SELECT RAISE(ABORT, 'root documents follow each other one by one'); END;
            CREATE TRIGGER rootDocumentIsNotChanged BEFORE UPDATE ON rootDocument
            BEGIN SELECT RAISE(ABORT, 'a root document is not changed'); END;
            CREATE TABLE policyVersion (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                version INTEGER NOT NULL CHECK (version >= 1),
                digest TEXT NOT NULL CHECK (length(digest) = 64), -- of the document in the envelope
                envelope BLOB NOT NULL,
                author TEXT NOT NULL,
                time INTEGER NOT NULL,
                comment TEXT NOT NULL CHECK (length(comment) <= 1000),
                difference TEXT NOT NULL, -- JSON
                PRIMARY KEY (organization, version)
            ) STRICT;
            CREATE TRIGGER policyVersionFollowsTheLast BEFORE INSERT ON policyVersion
            WHEN NEW.version <> 1 + coalesce(
                (SELECT max(version) FROM policyVersion WHERE organization = NEW.organization), 0)
            BEGIN SELECT RAISE(ABORT, 'versions of a policy follow each other one by one'); END;
            CREATE TRIGGER policyVersionIsNotChanged BEFORE UPDATE ON policyVersion
            BEGIN SELECT RAISE(ABORT, 'a version of a policy is not changed'); END;
            -- The newest one of each organization.
            CREATE TABLE freshness (
                organization TEXT PRIMARY KEY REFERENCES organization (name) ON DELETE CASCADE,
                sequence INTEGER NOT NULL CHECK (sequence >= 1),
                issued INTEGER NOT NULL,
                expires INTEGER NOT NULL CHECK (expires > issued),
                rootVersion INTEGER NOT NULL,
                policyVersion INTEGER NOT NULL,
                envelope BLOB NOT NULL,
                FOREIGN KEY (organization, rootVersion) REFERENCES rootDocument (organization, version)
                    ON DELETE CASCADE,
                FOREIGN KEY (organization, policyVersion) REFERENCES policyVersion (organization, version)
                    ON DELETE CASCADE
            ) STRICT;
            CREATE TRIGGER freshnessLeadsForward BEFORE UPDATE ON freshness
            WHEN NEW.sequence <> OLD.sequence + 1 OR NEW.issued < OLD.issued
                OR NEW.rootVersion < OLD.rootVersion OR NEW.policyVersion < OLD.policyVersion
            BEGIN SELECT RAISE(ABORT, 'freshness leads forward'); END;
            -- What an organization prepares; its number rises for ever, also past a draft that was thrown away.
            CREATE TABLE policyDraft (
                organization TEXT PRIMARY KEY REFERENCES organization (name) ON DELETE CASCADE,
                number INTEGER NOT NULL CHECK (number >= 1),
                document BLOB, -- NULL: thrown away or saved
                basedOn INTEGER NOT NULL,
                author TEXT NOT NULL,
                time INTEGER NOT NULL
            ) STRICT;
            """
        ),
        (
            "enrollment tokens and reports",
            """
            CREATE TABLE enrollmentToken (
                digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
                author TEXT NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL CHECK (expires > created AND expires <= created + 365 * 86400),
                UNIQUE (organization, name)
            ) STRICT, WITHOUT ROWID;
            -- Counts how often somebody came into a team or left one, for devices that wait for a change.
            CREATE TABLE teamChange (
                organization TEXT PRIMARY KEY REFERENCES organization (name) ON DELETE CASCADE,
                count INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE TRIGGER teamMemberAdded AFTER INSERT ON teamMember
            BEGIN
                INSERT INTO teamChange (organization, count) VALUES (NEW.organization, 1)
                ON CONFLICT (organization) DO UPDATE SET count = count + 1;
            END;
            CREATE TRIGGER teamMemberRemoved AFTER DELETE ON teamMember
            WHEN EXISTS (SELECT 1 FROM organization WHERE name = OLD.organization)
            BEGIN
                INSERT INTO teamChange (organization, count) VALUES (OLD.organization, 1)
                ON CONFLICT (organization) DO UPDATE SET count = count + 1;
            END;
            CREATE TABLE deviceStatus (
                organization TEXT NOT NULL,
                device TEXT NOT NULL,
                time INTEGER NOT NULL,
                policyVersion INTEGER NOT NULL,
                document TEXT NOT NULL, -- JSON
                PRIMARY KEY (organization, device),
                FOREIGN KEY (organization, device) REFERENCES device (organization, id) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE reportBatch (
                organization TEXT NOT NULL,
                device TEXT NOT NULL,
                batch TEXT NOT NULL,
                received INTEGER NOT NULL,
                PRIMARY KEY (organization, device, batch),
                FOREIGN KEY (organization, device) REFERENCES device (organization, id) ON DELETE CASCADE
            ) STRICT, WITHOUT ROWID;
            -- What machines refused. It outlives the device.
            CREATE TABLE refusal (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                device TEXT NOT NULL,
                received INTEGER NOT NULL,
                id TEXT NOT NULL,
                time TEXT NOT NULL,
                registry TEXT,
                action TEXT,
                verdict TEXT NOT NULL,
                rule TEXT,
                point TEXT NOT NULL,
                user TEXT
            ) STRICT;
            CREATE INDEX refusalOfOrganization ON refusal (organization, number);
            CREATE INDEX refusalOfDevice ON refusal (organization, device, number);
            CREATE INDEX refusalOfRegistry ON refusal (organization, registry, number);
            CREATE INDEX refusalByAge ON refusal (organization, received);
            CREATE INDEX reportBatchByAge ON reportBatch (organization, received);
            """
        ),
        (
            "most devices of an organization",
            """
            ALTER TABLE organization ADD COLUMN maximumDevices INTEGER NOT NULL DEFAULT 100000
                CHECK (maximumDevices BETWEEN 1 AND 1000000);
            -- When the activity last said that there are so many.
            ALTER TABLE organization ADD COLUMN devicesFull INTEGER;
            """
        ),
        (
            "freshness documents of a clock that was far ahead are left behind",
            """
            DROP TRIGGER freshnessLeadsForward;
            -- Only what was made further ahead than it lives is followed by something that was made before.
            CREATE TRIGGER freshnessLeadsForward BEFORE UPDATE ON freshness
            WHEN NEW.sequence <> OLD.sequence + 1
                OR (NEW.issued < OLD.issued AND OLD.issued - NEW.issued <= OLD.expires - OLD.issued)
                OR NEW.rootVersion < OLD.rootVersion OR NEW.policyVersion < OLD.policyVersion
            BEGIN SELECT RAISE(ABORT, 'freshness leads forward'); END;
            """
        ),
        (
            "user ids of machines are no names",
            """
            -- Only the credential helper knows who asked, and it told the number.
            UPDATE refusal SET user = 'user id ' || user
            WHERE point = 'credential-helper' AND user <> '' AND user NOT GLOB '*[^0-9]*';
            """
        ),
        (
            "sign-ins on a device are counted",
            """
            -- So that the end of one session is never taken for that of another.
            ALTER TABLE device ADD COLUMN signIns INTEGER NOT NULL DEFAULT 0;
            CREATE TRIGGER signInIsCounted AFTER INSERT ON session WHEN NEW.device IS NOT NULL
            BEGIN UPDATE device SET signIns = signIns + 1
                WHERE organization = NEW.organization AND id = NEW.device; END;
            """
        ),
        (
            "devices by their names, and what was done by whom, to what and where",
            """
            CREATE INDEX deviceByName ON device (organization, name COLLATE NOCASE, id);
            CREATE INDEX activityByActor ON activity (organization, actor, number);
            CREATE INDEX activityByName ON activity (organization, name, number);
            -- Which lines of the activity say in their data that something was done on a device: no index of an untrusted
            -- schema may look into JSON.
            CREATE TABLE activityOnDevice (
                organization TEXT NOT NULL,
                device TEXT NOT NULL,
                number INTEGER NOT NULL, -- of the line
                PRIMARY KEY (organization, device, number)
            ) STRICT, WITHOUT ROWID;
            INSERT INTO activityOnDevice (organization, device, number)
                SELECT organization, json_extract(data, '$.device'), number FROM activity
                WHERE json_type(data, '$.device') = 'text';
            """
        ),
        (
            "what is kept of reports has an end",
            """
            -- Whether it has registered with an enrollment token; without one anybody may have come.
            ALTER TABLE device ADD COLUMN showedToken INTEGER NOT NULL DEFAULT 0 CHECK (showedToken IN (0, 1));
            UPDATE device SET showedToken = 1
            WHERE organization IN (SELECT name FROM organization WHERE enrollment = 'token');
            -- The place in the order in which reports of a device came.
            ALTER TABLE reportBatch ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
            -- The place in the order of those that came from devices which anybody may have registered; NULL: from another.
            ALTER TABLE refusal ADD COLUMN stranger INTEGER;
            CREATE UNIQUE INDEX refusalOfStrangers ON refusal (organization, stranger) WHERE stranger IS NOT NULL;
            """
        ),
    ]
}
