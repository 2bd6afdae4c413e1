/// What somebody wants to do with a registry.
public enum RegistryAction: String, Sendable, CaseIterable, Codable {
    /// Read an image, a plugin, an artifact or a list of them.
    case pull
    /// Write an image or a plugin.
    case push
    /// Use credentials there.
    case login
}

/// One contact with a registry that somebody wants.
public struct AccessRequest: Hashable, Sendable {
    /// What is wanted.
    public let action: RegistryAction
    /// Where.
    public let address: RegistryAddress
    /// The repository, for example `acme/api`; `nil` where only the host can be seen.
    public let repository: String?

    /// A contact of which at most the repository is known.
    ///
    /// - Parameters:
    ///   - action: what is wanted.
    ///   - address: where.
    ///   - repository: the repository, if it can be seen.
    public init(_ action: RegistryAction, _ address: RegistryAddress, repository: String? = nil) {
        self.action = action
        self.address = address
        self.repository = repository
    }

    /// A contact for the sake of an image.
    ///
    /// - Parameters:
    ///   - action: what is wanted.
    ///   - image: the image.
    public init(_ action: RegistryAction, _ image: ImageReference) {
        self.init(action, image.registry, repository: image.repository)
    }
}
