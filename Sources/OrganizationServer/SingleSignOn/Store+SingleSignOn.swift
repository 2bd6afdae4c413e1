import GRDB
import RegistryAccess
import SignedPolicy

extension Store {
    /// A sign-in at a provider that is on its way.
    struct BegunSignIn: Sendable {
        let organization: String
        let purpose: SingleSignOn.Purpose
        /// What the ID token must have.
        let nonce: String
        /// What shows the provider that the code was given to us (RFC 7636).
        let verifier: String
        /// When it was begun.
        let time: Instant
    }

    /// Keeps a sign-in that is on its way.
    func begin(_ begun: BegunSignIn, state: OpaqueToken, for browser: OpaqueToken, at now: Instant) async throws {
        try await database.write { database in
            try Self.forgetSingleSignOns(at: now, database)
            do {
                try database.execute(
                    sql: """
                        INSERT INTO singleSignOnBegun
                            (state, browser, organization, purpose, nonce, verifier, expires)
                        VALUES (?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        state.digest, browser.digest, begun.organization, begun.purpose.text, begun.nonce,
                        begun.verifier, (begun.time + SingleSignOn.lifetimeSeconds).seconds,
                    ]
                )
            } catch DatabaseError.SQLITE_CONSTRAINT_FOREIGNKEY {
                throw SingleSignOnFault.notSet(organization: begun.organization)
            }
        }
    }

    private static func forgetSingleSignOns(at now: Instant, _ database: Database) throws {
        for table in ["singleSignOnBegun", "singleSignOnStranger"] {
            try database.execute(sql: "DELETE FROM \(table) WHERE expires <= ?", arguments: [now.seconds])
        }
    }

    /// Takes a sign-in that was on its way; it is good once, in the browser where it was begun.
    ///
    /// - Parameters:
    ///   - state: what the provider has sent back.
    ///   - browser: what the browser shows.
    ///   - now: the time.
    /// - Returns: the sign-in.
    /// - Throws: ``SingleSignOnFault``, or what SQLite says.
    func take(_ state: OpaqueToken, for browser: OpaqueToken?, at now: Instant) async throws -> BegunSignIn {
        try await database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: "SELECT * FROM singleSignOnBegun WHERE state = ? AND expires > ?",
                arguments: [state.digest, now.seconds]
            )
            guard let row, let purpose = SingleSignOn.Purpose(row["purpose"]) else {
                throw SingleSignOnFault.unknownState
            }
            let begunIn: String = row["browser"]
            guard begunIn == browser?.digest else { throw SingleSignOnFault.otherBrowser }
            try database.execute(sql: "DELETE FROM singleSignOnBegun WHERE state = ?", arguments: [state.digest])
            return BegunSignIn(
                organization: row["organization"],
                purpose: purpose,
                nonce: row["nonce"],
                verifier: row["verifier"],
                time: Instant(seconds: row["expires"]) + -SingleSignOn.lifetimeSeconds
            )
        }
    }

    // MARK: - Who it is

    /// Finds out who has signed in at a provider; makes them a member where the organization wants that.
    ///
    /// - Parameters:
    ///   - token: what the provider says of them.
    ///   - begun: the sign-in.
    ///   - settings: the organization's settings.
    ///   - browser: the browser, for the question behind it.
    ///   - now: the time.
    /// - Returns: who it is, or the question who it is.
    /// - Throws: ``SingleSignOnFault`` if they may not come in, or what SQLite says.
    func outcome(
        of token: IDToken,
        _ begun: BegunSignIn,
        _ settings: SingleSignOnSettings,
        for browser: OpaqueToken,
        at now: Instant
    ) async throws -> SingleSignOn.Outcome {
        let organization = begun.organization
        let issuer = settings.issuer.description
        let email = token.isEmailVerified ? token.email : nil
        return try await database.write { database in
            func signedIn(_ user: String) -> SingleSignOn.Outcome {
                .signedIn(
                    SingleSignOn.SignedIn(
                        user: user,
                        organization: organization,
                        purpose: begun.purpose,
                        authenticated: token.authenticated.map { min($0, now) }
                    )
                )
            }
            let known = try String.fetchOne(
                database,
                sql: "SELECT user FROM identity WHERE organization = ? AND issuer = ? AND subject = ?",
                arguments: [organization, issuer, token.subject]
            )
            if case .confirmation(let session, _) = begun.purpose {
                // Nobody else becomes a member by it, or is asked who they are.
                let user = try String.fetchOne(
                    database,
                    sql: "SELECT user FROM session WHERE id = ? AND organization = ? AND ended IS NULL",
                    arguments: [session, organization]
                )
                guard let user else { throw SingleSignOnFault.unknownState }
                guard known == user else { throw SingleSignOnFault.otherPerson(user) }
            }
            if let known, try Self.roles(of: known, database)[organization] != nil { return signedIn(known) }
            if known == nil, settings.membership == .domain {
                guard let email else { throw SingleSignOnFault.emailUnverified }
                guard settings.covers(email) else { throw SingleSignOnFault.emailOfAnotherDomain }
                switch try Self.holder(of: email, issuer, in: organization, database) {
                case .linked(let user): throw SingleSignOnFault.emailTaken(user)
                case .member: break
                case nil:
                    let user = try Self.freeName(token.preferredName, email, database)
                    try Self.insertUser(user, email: nil, nil, at: now, database)
                    try Self.insertMember(user, .member, in: organization, at: now, database)
                    try Self.insertIdentity(
                        issuer,
                        token.subject,
                        email: email,
                        user,
                        in: organization,
                        by: user,
                        at: now,
                        database
                    )
                    return signedIn(user)
                }
            }
            let confirmation = OpaqueToken(.form)
            try database.execute(
                sql: """
                    INSERT INTO singleSignOnStranger (confirmation, browser, organization, purpose, issuer, subject,
                        email, preferredName, user, expires)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    confirmation.digest, browser.digest, organization, begun.purpose.text, issuer, token.subject,
                    email, token.preferredName, known, (now + SingleSignOn.lifetimeSeconds).seconds,
                ]
            )
            let stranger = SingleSignOn.Stranger(
                organization: organization,
                purpose: begun.purpose,
                email: email,
                user: known
            )
            return .stranger(stranger, confirmation: confirmation)
        }
    }

    private enum EmailHolder {
        /// Somebody who is linked to a person of the provider.
        case linked(String)
        /// Somebody who is not linked so far.
        case member
    }

    /// The member who has an e-mail address already.
    private static func holder(of email: String, _ issuer: String, in organization: String, _ database: Database)
        throws
        -> EmailHolder?
    {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT user.name, identity.subject FROM membership JOIN user ON user.name = membership.user
                LEFT JOIN identity ON identity.organization = membership.organization
                    AND identity.user = membership.user AND identity.issuer = ?
                WHERE membership.organization = ? AND (user.email = ? OR identity.email = ?)
                ORDER BY identity.subject IS NULL
                """,
            arguments: [issuer, organization, email, email]
        )
        return row.map { row in
            let subject: String? = row["subject"]
            return subject == nil ? .member : .linked(row["name"])
        }
    }

    private static func insertMember(
        _ user: String,
        _ role: Role,
        in organization: String,
        inviter: String? = nil,
        at now: Instant,
        _ database: Database
    ) throws {
        try database.execute(
            sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, ?, ?)",
            arguments: [organization, user, role.rawValue, now.seconds]
        )
        try Activity(
            .memberAdded,
            by: user,
            name: user,
            data: [JSONMember("role", .string(role.rawValue)), JSONMember("inviter", .text(inviter))]
        ).record(in: organization, at: now, database)
    }

    /// A name that nobody has, made of what the provider says.
    private static func freeName(_ preferred: String?, _ email: String?, _ database: Database) throws -> String {
        let local = email.map { String($0.prefix { $0 != "@" }) }
        let wanted = [preferred, local].compactMap { $0 }.map(nameLike).first(where: Names.isName) ?? "member"
        var name = wanted
        var number = 1
        while try !Names.isPersonName(name)
            || Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM user WHERE name = ?)",
                arguments: [name]
            ) ?? true
        {
            number += 1
            name = "\(wanted.prefix(32))-\(number)"
        }
        return name
    }

    /// What is left of a text when it is made a name: `Alice.Doe@acme.test` becomes `alice-doe`.
    private static func nameLike(_ text: String) -> String {
        let bytes = text.lowercased().prefix { $0 != "@" }.utf8.map { byte -> UInt8 in
            (48...57).contains(byte) || (97...122).contains(byte) ? byte : UInt8(ascii: "-")
        }
        let words = Array(bytes.split(separator: UInt8(ascii: "-")).joined(separator: [UInt8(ascii: "-")]).prefix(40))
        return String(decoding: words.last == UInt8(ascii: "-") ? words.dropLast() : words[...], as: UTF8.self)
    }

    // MARK: - Who a stranger is

    /// Why a stranger is not who they say.
    enum IntroductionRefusal: Error, Hashable, Sendable {
        /// The invitation is not good, not any more, or leads to another organization.
        case invitation
        /// They are no member, and show no invitation.
        case notAMember(String)
        /// They are a member, and need no invitation.
        case isAMember(String)
        /// They are linked to another person of the provider.
        case linked(String)
        /// They have said nothing.
        case nothing
    }

    /// Links a stranger to who they are here, or lets them join.
    ///
    /// - Parameters:
    ///   - confirmation: what their browser shows.
    ///   - browser: the browser.
    ///   - introduction: what they say.
    ///   - now: the time.
    /// - Returns: who is signed in now.
    /// - Throws: ``SingleSignOnFault/unknownState``, ``IntroductionRefusal``, or what SQLite says.
    func introduce(
        _ confirmation: OpaqueToken,
        for browser: OpaqueToken,
        _ introduction: SingleSignOn.Introduction,
        at now: Instant
    ) async throws -> SingleSignOn.SignedIn {
        try await database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    DELETE FROM singleSignOnStranger WHERE confirmation = ? AND browser = ? AND expires > ? RETURNING *
                    """,
                arguments: [confirmation.digest, browser.digest, now.seconds]
            )
            guard let row, let purpose = SingleSignOn.Purpose(row["purpose"]) else {
                throw SingleSignOnFault.unknownState
            }
            let organization: String = row["organization"]
            // A refusal rolls the deletion back, so that they can try again.
            let user = try Self.user(row, introduction, in: organization, at: now, database)
            let isLinked = try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM identity WHERE organization = ? AND issuer = ?
                        AND user = ? AND subject = ?)
                    """,
                arguments: [organization, row["issuer"] as String, user, row["subject"] as String]
            )
            if isLinked != true {
                do {
                    try Self.insertIdentity(
                        row["issuer"],
                        row["subject"],
                        email: row["email"],
                        user,
                        in: organization,
                        by: user,
                        at: now,
                        database
                    )
                } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
                    throw IntroductionRefusal.linked(user)
                }
            }
            return SingleSignOn.SignedIn(
                user: user,
                organization: organization,
                purpose: purpose,
                // By their password.
                authenticated: introduction.user == nil ? nil : now
            )
        }
    }

    private static func user(
        _ stranger: Row,
        _ introduction: SingleSignOn.Introduction,
        in organization: String,
        at now: Instant,
        _ database: Database
    ) throws -> String {
        // Who is linked to somebody already is nobody else.
        let known: String? = stranger["user"]
        let user = known ?? introduction.user
        let isMember = try user.map { try Self.roles(of: $0, database)[organization] != nil } ?? false
        guard let token = introduction.invitation else {
            guard let user else { throw IntroductionRefusal.nothing }
            guard isMember else { throw IntroductionRefusal.notAMember(user) }
            return user
        }
        if let user, isMember { throw IntroductionRefusal.isAMember(user) }
        guard let invitation = try Self.invitation(token, at: now, database), invitation.organization == organization
        else { throw IntroductionRefusal.invitation }
        try database.execute(sql: "DELETE FROM invitation WHERE digest = ?", arguments: [token.digest])
        let joining = try user ?? freeName(stranger["preferredName"], stranger["email"], database)
        if user == nil { try Self.insertUser(joining, email: nil, nil, at: now, database) }
        try Self.insertMember(
            joining,
            invitation.role,
            in: organization,
            inviter: invitation.inviter,
            at: now,
            database
        )
        return joining
    }
}
