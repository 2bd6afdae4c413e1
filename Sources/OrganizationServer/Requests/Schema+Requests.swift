extension Schema {
    /// What people ask for.
    static let requests: [(String, String)] = [
        (
            "requests for registries",
            """
            -- A request outlives who made it and on which device.
            CREATE TABLE registryRequest (
                organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
                number INTEGER NOT NULL CHECK (number >= 1),
                registry TEXT NOT NULL CHECK (length(registry) BETWEEN 1 AND 300),
                action TEXT NOT NULL CHECK (action IN ('pull', 'push')),
                reason TEXT NOT NULL CHECK (length(reason) <= 500),
                user TEXT, -- who asked; NULL: nobody was signed in on the device
                device TEXT, -- where; NULL: in a browser
                made INTEGER NOT NULL,
                state TEXT NOT NULL DEFAULT 'open'
                    CHECK (state IN ('open', 'allowed', 'declined', 'withdrawn', 'ended')),
                word TEXT NOT NULL DEFAULT '' CHECK (length(word) <= 500),
                actor TEXT, -- who answered
                answered INTEGER,
                until INTEGER, -- when what was allowed ends
                rule TEXT, -- JSON of the rule that the answer has added to the policy
                policyVersion INTEGER, -- that has it
                changes INTEGER NOT NULL DEFAULT 1, -- how often the request has changed
                PRIMARY KEY (organization, number),
                CHECK (user IS NOT NULL OR device IS NOT NULL),
                CHECK ((state = 'open') = (answered IS NULL)),
                CHECK (until IS NULL OR until > answered),
                CHECK (state IN ('allowed', 'ended') OR (until IS NULL AND rule IS NULL))
            ) STRICT;
            CREATE UNIQUE INDEX registryRequestIsOpenOnce ON registryRequest
                (organization, registry, action, coalesce('u' || user, 'd' || device)) WHERE state = 'open';
            CREATE INDEX registryRequestByState ON registryRequest (organization, state, number);
            CREATE INDEX registryRequestOfRegistry ON registryRequest (organization, registry, number);
            CREATE INDEX registryRequestOfDevice ON registryRequest (organization, device, number);
            CREATE INDEX registryRequestOfUser ON registryRequest (organization, user, number);
            CREATE INDEX registryRequestThatEnds ON registryRequest (until)
                WHERE state = 'allowed' AND until IS NOT NULL;
            CREATE TRIGGER registryRequestIsAnsweredOnce BEFORE UPDATE ON registryRequest
            WHEN NOT (OLD.state = 'open' OR (OLD.state = 'allowed' AND NEW.state = 'ended'))
                OR NEW.registry <> OLD.registry OR NEW.action <> OLD.action OR NEW.reason <> OLD.reason
            BEGIN SELECT RAISE(ABORT, 'a request is answered once'); END;
            """
        ),
        (
            "how long versions had what was allowed until a date",
            """
            -- The newest version when it had ended, which does not have the rule any more.
            ALTER TABLE registryRequest ADD COLUMN endVersion INTEGER;
            DROP TRIGGER registryRequestIsAnsweredOnce;
            UPDATE registryRequest SET endVersion = (SELECT min(version) FROM policyVersion
                WHERE policyVersion.organization = registryRequest.organization AND time >= until)
            WHERE state = 'ended' AND rule IS NOT NULL;
            -- None was made since.
            UPDATE registryRequest SET endVersion = (SELECT 1 + max(version) FROM policyVersion
                WHERE policyVersion.organization = registryRequest.organization)
            WHERE state = 'ended' AND rule IS NOT NULL AND endVersion IS NULL;
            CREATE TRIGGER registryRequestIsAnsweredOnce BEFORE UPDATE ON registryRequest
            WHEN NOT (OLD.state = 'open' OR (OLD.state = 'allowed' AND NEW.state = 'ended'))
                OR NEW.registry <> OLD.registry OR NEW.action <> OLD.action OR NEW.reason <> OLD.reason
            BEGIN SELECT RAISE(ABORT, 'a request is answered once'); END;
            """
        ),
    ]
}
