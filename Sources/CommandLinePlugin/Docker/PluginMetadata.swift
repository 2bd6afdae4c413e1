import LocalInstallation
import RegistryAccess

/// What Docker asks every plugin for; `plugin-metadata/docker-ram.json` is the same text.
enum PluginMetadata {
    static let text =
        JSONValue.object([
            JSONMember("SchemaVersion", .string("0.1.0")),
            JSONMember("Vendor", .string("docker-ram")),
            JSONMember("Version", .string(ProductVersion.text)),
            JSONMember("ShortDescription", .string("Registry Access Management")),
        ]).text(indentation: "  ") + "\n"
}
