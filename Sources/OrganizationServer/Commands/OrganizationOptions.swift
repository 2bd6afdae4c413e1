import ArgumentParser
import RegistryAccess
import SignedPolicy

/// What an organization is made of, for `init` and for `organization add`.
struct OrganizationOptions: ParsableArguments {
    @Option(help: ArgumentHelp("What the organization is called.", valueName: "name"))
    var organization: String

    @Option(help: ArgumentHelp("What its first owner is called.", valueName: "name"))
    var owner: String

    @Option(help: ArgumentHelp("Whom developers ask, shown in refusals.", valueName: "address"))
    var contact: String?

    @OptionGroup var input: PasswordInput

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
        guard contact.map(Names.isContact) ?? true else { throw ValidationError("a contact has \(Names.contactRule)") }
    }

    /// A public key as `docker ram admin key init` prints it.
    static func key(_ text: String) -> VerificationKey? {
        StrictBase64.decode(text.utf8).flatMap { VerificationKey($0) }
    }

    /// What is to be made; asks for the password of an owner who is new.
    ///
    /// - Parameters:
    ///   - data: the server's directory.
    ///   - settings: what the server's file says.
    ///   - store: the database; `nil` if there is none yet.
    /// - Returns: the set-up.
    /// - Throws: ``DataDirectory/Fault`` if the organization is there, or the password will not do.
    func setup(
        in data: DataDirectory,
        _ settings: ServerSettings,
        _ store: Store? = nil
    ) async throws -> OrganizationSetup {
        guard try await store?.organizations().contains(organization) != true else {
            throw DataDirectory.Fault(description: "there is an organization \"\(organization)\" already")
        }
        var password: PasswordHash?
        if try await store?.account(named: owner) == nil {
            let words = settings.wordsNearPasswords + [organization]
            password = try await Passwords(cost: settings.passwordCost).hash(input.read(for: owner, near: words))
        }
        return OrganizationSetup(
            organization: organization,
            contact: contact,
            owner: owner,
            password: password,
            now: .now,
            documents: FirstDocuments(
                rootKey: rootPublicKey.flatMap(Self.key).map(FirstDocuments.RootKey.elsewhere)
                    ?? .new(file: rootKey ?? FirstDocuments.rootKeyFile(of: organization, in: data))
            )
        )
    }
}
