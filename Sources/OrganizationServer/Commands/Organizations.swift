import ArgumentParser
import GRDB

/// `docker-ram-server organization`.
struct OrganizationCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "organization",
        abstract: "The organizations of a server: list them, make a further one.",
        subcommands: [OrganizationAdd.self, OrganizationList.self]
    )
}

/// `docker-ram-server organization add`.
struct OrganizationAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Make a further organization, its owner and its keys, also while the server runs.",
        discussion: """
            The owner may be somebody who is there already: then no password is asked for, and they sign in with the one \
            that they have. What cannot be made leaves nothing behind.

            Example: docker-ram-server organization add --data /var/lib/docker-ram-server --organization ops --owner bob
            """
    )

    @OptionGroup var data: DataOption
    @OptionGroup var further: OrganizationOptions

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            // Its keys have to be readable for the server.
            try directory.checkOwner()
            let settings = try directory.readSettings()
            let store = try Store(of: directory, mayBeNew: true)
            let setup = try await further.setup(in: directory, settings, store)
            let lines: [String]
            do {
                lines = try await setup.run(in: store, directory)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
                throw DataDirectory.Fault(
                    description: "\"\(setup.organization)\" or \"\(setup.owner)\" was made at this moment; try again"
                )
            } catch let problem as Problem {
                throw DataDirectory.Fault(description: problem.detail)
            }
            let hasPassword = try await store.account(named: setup.owner)?.password != nil
            try store.database.close()
            print("made \"\(setup.organization)\" with its owner \"\(setup.owner)\"")
            if !hasPassword {
                print(
                    "\"\(setup.owner)\" has no password yet: docker-ram-server password --data \(data.data) \(setup.owner)"
                )
            }
            for line in lines { print(line) }
        }
    }
}

/// `docker-ram-server organization list`.
struct OrganizationList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the organizations of a server, also while it runs.",
        discussion: "Example: docker-ram-server organization list --data /var/lib/docker-ram-server"
    )

    @OptionGroup var data: DataOption

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            let store = try Store(of: directory, mayBeNew: true)
            for organization in try await store.organizationOverviews() { print(organization) }
            try store.database.close()
        }
    }
}

/// What there is of an organization, for whoever runs the server.
private struct OrganizationOverview: CustomStringConvertible {
    private let name: String
    private let owners: String
    private let members: Int
    private let machines: Int
    private let policyVersion: Int?

    init(_ row: Row) {
        name = row["name"]
        owners = row["owners"] ?? ""
        members = row["members"]
        machines = row["machines"]
        policyVersion = row["policyVersion"]
    }

    var description: String {
        let counts = [
            Dashboard.count(members, "member", "members"), Dashboard.count(machines, "machine", "machines"),
            policyVersion.map { "policy \($0)" } ?? "no policy: its root document waits for a signature",
        ]
        return "\(name): \(counts.joined(separator: ", ")); owned by \(owners)"
    }
}

extension Store {
    /// What there is of each organization.
    fileprivate func organizationOverviews() async throws -> [OrganizationOverview] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT name,
                        (SELECT group_concat(user, ', ') FROM (SELECT user FROM membership
                            WHERE organization = name AND role = 'owner' ORDER BY user)) AS owners,
                        (SELECT count(*) FROM membership WHERE organization = name) AS members,
                        (SELECT count(*) FROM device WHERE device.organization = organization.name) AS machines,
                        (SELECT max(version) FROM policyVersion WHERE organization = name) AS policyVersion
                    FROM organization ORDER BY name
                    """
            ).map(OrganizationOverview.init)
        }
    }
}
