import ArgumentParser
import RegistryAccess

@main
struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "docker-ramd",
        abstract: "Enforces Registry Access Management on this machine's Docker Engine.",
        version: "docker-ramd \(ProductVersion.text)",
        subcommands: [Run.self]
    )
}
