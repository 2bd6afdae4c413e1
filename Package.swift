// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "docker-ram",
    products: [
        .executable(name: "docker-ram", targets: ["CommandLinePlugin"]),
        .executable(name: "docker-credential-ram", targets: ["CredentialHelper"]),
        .executable(name: "docker-ramd", targets: ["EnforcementDaemon"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // The rule. Imports nothing.
        .target(
            name: "RegistryAccess",
            resources: [.embedInCode("RegistryPacks.json")],
            swiftSettings: settings
        ),
        // The files that we and Docker keep on a machine.
        .target(name: "LocalInstallation", dependencies: ["RegistryAccess"], swiftSettings: settings),
        // How a policy travels: envelopes, keys, versions, freshness. No files, no network.
        .target(
            name: "SignedPolicy",
            dependencies: ["RegistryAccess", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: settings
        ),
        // What is called of the Secret Service library. It is loaded only when it is needed, so nothing is linked.
        .systemLibrary(name: "CLibSecret"),

        .executableTarget(
            name: "CommandLinePlugin",
            dependencies: [
                "LocalInstallation",
                "RegistryAccess",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "CredentialHelper",
            dependencies: ["CLibSecret", "LocalInstallation", "RegistryAccess"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "EnforcementDaemon",
            dependencies: [
                "LocalInstallation",
                "RegistryAccess",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(
            name: "RegistryAccessTests",
            dependencies: ["RegistryAccess", "TestSupport"],
            exclude: ["Fixtures"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LocalInstallationTests",
            dependencies: ["LocalInstallation", "RegistryAccess", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SignedPolicyTests",
            dependencies: ["RegistryAccess", "SignedPolicy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CredentialHelperTests",
            dependencies: ["CredentialHelper", "LocalInstallation", "RegistryAccess", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "EnforcementDaemonTests",
            dependencies: [
                "EnforcementDaemon",
                "LocalInstallation",
                "RegistryAccess",
                "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CommandLinePluginTests",
            dependencies: ["CommandLinePlugin", "LocalInstallation", "RegistryAccess", "TestSupport"],
            exclude: ["Transcripts"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "Benchmarks",
            dependencies: ["RegistryAccess", "TestSupport"],
            path: "Tests/Benchmarks",
            exclude: ["run"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["LocalInstallation", "RegistryAccess", "TestSupport"],
            swiftSettings: settings
        ),
    ]
)
