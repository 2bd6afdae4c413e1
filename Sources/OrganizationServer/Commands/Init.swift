import RegistryAccess
import ArgumentParser
import Foundation
import GRDB
import Glibc
import SignedPolicy

/// `docker-ram-server init`.
struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a server: its directory, its database, the first organization, its owner and its keys."
    )

    @OptionGroup var data: DataOption

    @Option(help: ArgumentHelp("What the organization is called.", valueName: "name"))
    var organization: String

    @Option(help: ArgumentHelp("What its first owner is called.", valueName: "name"))
    var owner: String

    @Option(help: ArgumentHelp("Whom developers ask, shown in refusals.", valueName: "address"))
    var contact: String?

    @Flag(help: "Read the owner's password from standard input; without it, it is asked for.")
    var passwordStdin = false

    @Option(
        name: .customLong("public-url"),
        help: ArgumentHelp("Where browsers and machines reach the server: https://ram.acme.test.", valueName: "url")
    )
    var publicURL: String

    @Option(
        help: ArgumentHelp(
            "Where the organization's root key is written. (default: ORGANIZATION-root.key in the data directory)",
            valueName: "file"
        )
    )
    var rootKey: String?

    @Option(
        help: ArgumentHelp(
            "The public half of a root key that never comes here; docker ram admin key init prints it.",
            valueName: "key"
        )
    )
    var rootPublicKey: String?

    func validate() throws {
        guard rootKey == nil || rootPublicKey == nil else {
            throw ValidationError("--root-key goes without --root-public-key: the key is made here or elsewhere")
        }
        if let rootPublicKey, Self.key(rootPublicKey) == nil {
            throw ValidationError("\"\(rootPublicKey)\" is no public key as docker ram admin key init prints it")
        }
        guard Names.isName(organization) else {
            throw ValidationError("\"\(organization)\" is no name: a name is \(Names.rule)")
        }
        guard Names.isPersonName(owner) else {
            throw ValidationError("\"\(owner)\" is no name of a person: a name is \(Names.personRule)")
        }
        guard PublicAddress(publicURL) != nil else {
            throw ValidationError(
                "\"\(publicURL)\" is no address like \"https://ram.acme.test:8443\" (http:// only for this machine)"
            )
        }
        guard contact.map({ Names.isLabel($0, longest: 120) }) ?? true else {
            throw ValidationError("a contact has 1 to 120 bytes and no control characters")
        }
    }

    func run() async throws {
        try await reporting {
            guard let address = PublicAddress(publicURL) else { throw ExitCode.validationFailure }
            let settings = ServerSettings(publicAddress: address)
            let password = try readPassword()
            if let weakness = password.weakness(for: owner, near: settings.wordsNearPasswords + [organization]) {
                throw DataDirectory.Fault(description: weakness)
            }
            let directory = data.directory
            try directory.create()
            try directory.takeLock()
            do {
                let setup = OrganizationSetup(
                    organization: organization,
                    contact: contact,
                    owner: owner,
                    password: try await Passwords(cost: settings.passwordCost).hash(password),
                    now: .now,
                    documents: FirstDocuments(
                        rootKey: rootPublicKey.flatMap(Self.key).map(FirstDocuments.RootKey.elsewhere)
                            ?? .new(file: rootKey ?? FirstDocuments.rootKeyFile(of: organization, in: directory))
                    )
                )
                let store = try Store(path: directory.database)
                let further = try await setup.run(in: store, directory)
                try store.database.close()
                try DataDirectory.write(settings.json, to: directory.settings)
                say(further, address)
            } catch {
                // Half a server is none: the next attempt finds the directory as this one did.
                try? directory.empty()
                throw error
            }
        }
    }

    /// A public key as `docker ram admin key init` prints it.
    static func key(_ text: String) -> VerificationKey? {
        StrictBase64.decode(text.utf8).flatMap { VerificationKey($0) }
    }

    private func readPassword() throws -> Password {
        if passwordStdin {
            guard let line = readLine(strippingNewline: true), !line.isEmpty else {
                throw DataDirectory.Fault(description: "there is no password on standard input")
            }
            return Password(line)
        }
        func ask(_ words: String) throws -> String {
            guard isatty(STDIN_FILENO) == 1, let answer = getpass(words) else {
                throw DataDirectory.Fault(description: "there is nobody to ask for a password; use --password-stdin")
            }
            return String(cString: answer)
        }
        let first = try ask("Password of \(owner): ")
        guard try ask("Once more: ") == first else {
            throw DataDirectory.Fault(description: "the two passwords differ")
        }
        return Password(first)
    }

    private func say(_ further: [String], _ address: PublicAddress) {
        print("made \"\(organization)\" with its owner \"\(owner)\" in \(data.data)")
        for line in further { print(line) }
        print(
            """
            now:
              docker-ram-server serve --data \(data.data) --listen HOST:PORT --tls-certificate FILE --tls-key FILE
              (or --behind-proxy, if a proxy at \(address) does TLS)
              docker-ram-server backup --data \(data.data) FILE, every day; it does not hold the keys
            """
        )
    }
}
