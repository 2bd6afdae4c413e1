import ArgumentParser
import GRDB
import RegistryAccess

/// `docker-ram-server password`.
struct SetPassword: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "password",
        abstract: "Set a new password for a person, also while the server runs.",
        discussion: """
            For whoever has forgotten theirs, the only owner of an organization included. All sessions of the person end, \
            in browsers and on machines, and the activity of each of their organizations has it. Their access tokens stay.

            Example: docker-ram-server password --data /var/lib/docker-ram-server alice
            """
    )

    @OptionGroup var data: DataOption

    @Argument(help: "The person's name, or their e-mail address.")
    var name: String

    @OptionGroup var input: PasswordInput

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            try directory.checkOwner()
            let settings = try directory.readSettings()
            let store = try Store(of: directory)
            guard let user = try await store.account(named: name)?.name else {
                throw DataDirectory.Fault(description: "there is nobody \"\(name)\"; the names are among the members")
            }
            let words = settings.wordsNearPasswords + (try await store.organizations(of: user))
            let password = try input.read(for: user, near: words)
            let organizations = try await store.setPassword(
                of: user,
                to: Passwords(cost: settings.passwordCost).hash(password),
                at: .now
            )
            try store.database.close()
            let places = organizations.isEmpty ? "no organization" : organizations.joined(separator: ", ")
            print("\"\(user)\" has a new password, and all their sessions have ended (member of \(places))")
        }
    }
}

extension Store {
    /// The organizations that somebody belongs to.
    ///
    /// - Parameter user: who.
    /// - Returns: their names in order.
    /// - Throws: what SQLite says.
    func organizations(of user: String) async throws -> [String] {
        try await database.read { try Self.roles(of: user, $0).keys.sorted() }
    }

    /// Sets a password in the place of one that was forgotten, as whoever runs the server, and ends all sessions of its
    /// owner.
    ///
    /// - Parameters:
    ///   - user: whose.
    ///   - password: the new one.
    ///   - now: the time.
    /// - Returns: the organizations that the person belongs to.
    /// - Throws: what SQLite says.
    func setPassword(of user: String, to password: PasswordHash, at now: Instant) async throws -> [String] {
        try await database.write { database in
            let activity = Activity(.passwordSet, by: Names.system, name: user)
            return try Self.changePassword(of: user, to: password, activity, at: now, database)
        }
    }
}
