import GRDB

/// The schema, which carries the invariants: what it does not allow, no fault of ours can write.
///
/// Migrations are named by what they do and are never edited once they are released. Instants are whole seconds since 1970.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        for (name, sql) in [organizations] + accounts + policies + dashboard + singleSignOn + requests + reports {
            migrator.registerMigration(name) { try $0.execute(sql: sql) }
        }
        migrator.registerMigration(ActivityChain.migration.name, migrate: ActivityChain.migration.migrate)
        return migrator
    }

    private static let organizations = (
        "organizations and their members",
        """
        CREATE TABLE organization (
            name TEXT PRIMARY KEY CHECK (name GLOB '[a-z0-9]*' AND length(name) BETWEEN 3 AND 40),
            contact TEXT,
            refreshSeconds INTEGER NOT NULL DEFAULT 900 CHECK (refreshSeconds BETWEEN 60 AND 86400),
            validitySeconds INTEGER NOT NULL DEFAULT 86400 CHECK (validitySeconds BETWEEN 3600 AND 604800),
            reportDays INTEGER NOT NULL DEFAULT 90 CHECK (reportDays BETWEEN 1 AND 3650),
            enrollment TEXT NOT NULL DEFAULT 'open' CHECK (enrollment IN ('open', 'token')),
            created INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE user (
            name TEXT PRIMARY KEY CHECK (name GLOB '[a-z0-9]*' AND length(name) BETWEEN 3 AND 40),
            email TEXT UNIQUE COLLATE NOCASE,
            password TEXT, -- PHC string of scrypt; NULL: single sign-on only
            created INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE membership (
            organization TEXT NOT NULL REFERENCES organization (name) ON DELETE CASCADE,
            user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'auditor', 'member')),
            created INTEGER NOT NULL,
            PRIMARY KEY (organization, user)
        ) STRICT, WITHOUT ROWID;
        CREATE TRIGGER lastOwnerStays BEFORE DELETE ON membership
        WHEN OLD.role = 'owner' AND EXISTS (SELECT 1 FROM organization WHERE name = OLD.organization)
            AND NOT EXISTS (SELECT 1 FROM membership
                WHERE organization = OLD.organization AND role = 'owner' AND user <> OLD.user)
        BEGIN SELECT RAISE(ABORT, 'the last owner cannot leave'); END;
        CREATE TRIGGER lastOwnerRemainsOwner BEFORE UPDATE OF role ON membership
        WHEN OLD.role = 'owner' AND NEW.role <> 'owner' AND NOT EXISTS (SELECT 1 FROM membership
                WHERE organization = OLD.organization AND role = 'owner' AND user <> OLD.user)
        BEGIN SELECT RAISE(ABORT, 'the last owner cannot leave'); END;
        CREATE TABLE activity (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            organization TEXT NOT NULL REFERENCES organization (name),
            time INTEGER NOT NULL,
            action TEXT NOT NULL,
            actor TEXT NOT NULL,
            name TEXT NOT NULL DEFAULT '',
            data TEXT NOT NULL DEFAULT '{}'
        ) STRICT;
        CREATE INDEX activityOfOrganization ON activity (organization, number);
        CREATE TRIGGER activityIsNotChanged BEFORE UPDATE ON activity
        BEGIN SELECT RAISE(ABORT, 'activity is only added to'); END;
        """
    )
}
