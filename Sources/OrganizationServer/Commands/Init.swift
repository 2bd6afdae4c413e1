import RegistryAccess
import ArgumentParser
import GRDB
import SignedPolicy

/// `docker-ram-server init`.
struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a server: its directory, its database, the first organization, its owner and its keys."
    )

    @OptionGroup var data: DataOption
    @OptionGroup var first: OrganizationOptions

    @Option(
        name: .customLong("public-url"),
        help: ArgumentHelp("Where browsers and machines reach the server: https://ram.acme.test.", valueName: "url")
    )
    var publicURL: String

    func validate() throws {
        guard PublicAddress(publicURL) != nil else {
            throw ValidationError(
                "\"\(publicURL)\" is no address like \"https://ram.acme.test:8443\" (http:// only for this machine)"
            )
        }
    }

    func run() async throws {
        try await reporting {
            guard let address = PublicAddress(publicURL) else { throw ExitCode.validationFailure }
            let settings = ServerSettings(publicAddress: address)
            let directory = data.directory
            let setup = try await first.setup(in: directory, settings)
            try directory.create()
            try directory.takeLock()
            do {
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

    private func say(_ further: [String], _ address: PublicAddress) {
        print("made \"\(first.organization)\" with its owner \"\(first.owner)\" in \(data.data)")
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
