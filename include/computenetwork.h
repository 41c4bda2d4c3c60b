/* SPDX-License-Identifier: Apache-2.0
 *
 * Host network service: networks, endpoints, namespaces and load balancers, after Windows' computenetwork.dll. Part of the library's interface
 * are the Hcn functions; what follows them (cs_*) is Caisson's own and is there inside of Caisson's source tree only.
 *
 * Strings are UTF-8; documents are JSON of the HCN schema, version 2 (docs/network-documents.md lists members, policies and what Linux adds).
 * All calls are synchronous, and may be made from any thread. Results are HRESULT with the published values. `errorRecord`, where it is not NULL,
 * is set to NULL or, on failure, to {"Error": text for a person, "ErrorCode": HRESULT}. Strings that come out belong to the caller: HcnFree().
 * Handles are counted references to objects: closing one never ends the object, a deleted object's open handles answer *_NOT_FOUND.
 *
 * The service lives in its user's process and keeps nothing on disk: what is in the kernel goes on without it, and a next service takes it over:
 * the caller creates the same objects again, with the same ids, and then says "settled" (cs_hcn_settle), upon which everything in the kernel
 * that bears this instance's mark and belongs to no object goes away. */
#pragma once

#include "computecore.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct HcnNetwork *HCN_NETWORK;
typedef struct HcnEndpoint *HCN_ENDPOINT;
typedef struct HcnNamespace *HCN_NAMESPACE;
typedef struct HcnLoadBalancer *HCN_LOADBALANCER;
typedef struct HcnCallback *HCN_CALLBACK;

typedef struct { /* the fields of a Windows GUID; text form "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", lower case */
	uint32_t Data1;
	uint16_t Data2, Data3;
	uint8_t Data4[8];
} HCN_GUID;

#define HCN_E(code) ((HRESULT)(0x803B0000u | (code)))
#define HCN_E_NETWORK_NOT_FOUND HCN_E(0x01)
#define HCN_E_ENDPOINT_NOT_FOUND HCN_E(0x02)
#define HCN_E_LAYER_NOT_FOUND HCN_E(0x03)
#define HCN_E_SWITCH_NOT_FOUND HCN_E(0x04)
#define HCN_E_SUBNET_NOT_FOUND HCN_E(0x05)
#define HCN_E_ADAPTER_NOT_FOUND HCN_E(0x06)
#define HCN_E_PORT_NOT_FOUND HCN_E(0x07)
#define HCN_E_POLICY_NOT_FOUND HCN_E(0x08)
#define HCN_E_INVALID_NETWORK HCN_E(0x0A)
#define HCN_E_INVALID_NETWORK_TYPE HCN_E(0x0B)
#define HCN_E_INVALID_ENDPOINT HCN_E(0x0C)
#define HCN_E_INVALID_POLICY HCN_E(0x0D)
#define HCN_E_INVALID_POLICY_TYPE HCN_E(0x0E)
#define HCN_E_NETWORK_ALREADY_EXISTS HCN_E(0x10)
#define HCN_E_POLICY_ALREADY_EXISTS HCN_E(0x12)
#define HCN_E_PORT_ALREADY_EXISTS HCN_E(0x13) /* a published port is held: the error record says by whom */
#define HCN_E_ENDPOINT_ALREADY_ATTACHED HCN_E(0x14)
#define HCN_E_REQUEST_UNSUPPORTED HCN_E(0x15)
#define HCN_E_INVALID_JSON HCN_E(0x1B)
#define HCN_E_INVALID_JSON_REFERENCE HCN_E(0x1C)
#define HCN_E_INVALID_IP HCN_E(0x1E)
#define HCN_E_MANAGER_STOPPED HCN_E(0x20)
#define HCN_E_ENTITY_HAS_REFERENCES HCN_E(0x2C)
#define HCN_E_INVALID_INTERNAL_PORT HCN_E(0x2D)
#define HCN_E_NAMESPACE_ATTACH_FAILED HCN_E(0x2E)
#define HCN_E_ADDR_INVALID_OR_RESERVED HCN_E(0x2F) /* outside the subnet, in use, or no address is left */
#define HCN_E_INVALID_PREFIX HCN_E(0x30)
#define HCN_E_INVALID_SUBNET HCN_E(0x32) /* overlaps another network's */
#define HCN_E_INVALID_IP_SUBNET HCN_E(0x33)
#define HCN_E_ENDPOINT_NOT_ATTACHED HCN_E(0x34)
/* not published: no namespace has that id */
#define HCN_E_NAMESPACE_NOT_FOUND HCS_E_ELEMENT_NOT_FOUND

typedef enum {
	HcnNotificationInvalid = 0,
	HcnNotificationNetworkPreCreate = 1,
	HcnNotificationNetworkCreate = 2,
	HcnNotificationNetworkPreDelete = 3,
	HcnNotificationNetworkDelete = 4,
	HcnNotificationNamespaceCreate = 5,
	HcnNotificationNamespaceDelete = 6,
	HcnNotificationNetworkEndpointAttached = 9,
	HcnNotificationNetworkEndpointDetached = 0x10,
	HcnNotificationServiceDisconnect = 0x01000000,
} HCN_NOTIFICATIONS;

/* data: {"ID": …} of the object, with "HostComputeNetwork" for endpoints. On a thread of the service's: short, and no Hcn call that changes things. */
typedef void (*HCN_NOTIFICATION_CALLBACK)(uint32_t notification, void *context, HRESULT status, const char *data);

/* query: NULL or HostComputeQuery {"SchemaVersion":{"Major":2,"Minor":0},"Flags":0|1,"Filter":"{\"Name\":…,\"ID\":…}"}.
 * Enumerations answer a JSON array of ids; with Flags 1 (detailed), of whole documents. */
HRESULT HcnEnumerateNetworks(const char *query, char **networks, char **errorRecord);
HRESULT HcnCreateNetwork(const HCN_GUID *id, const char *settings, HCN_NETWORK *network, char **errorRecord);
HRESULT HcnOpenNetwork(const HCN_GUID *id, HCN_NETWORK *network, char **errorRecord);
/* {"ResourceType": "Policy"|"DNS", "RequestType": "Add"|"Remove"|"Update", "Settings": …}. "DNS": Add and Update replace the network's Dns,
 * Remove empties it; namespaces on it follow. A subnet cannot be changed: HCN_E_REQUEST_UNSUPPORTED. */
HRESULT HcnModifyNetwork(HCN_NETWORK network, const char *settings, char **errorRecord);
HRESULT HcnQueryNetworkProperties(HCN_NETWORK network, const char *query, char **properties, char **errorRecord);
HRESULT HcnDeleteNetwork(const HCN_GUID *id, char **errorRecord); /* HCN_E_ENTITY_HAS_REFERENCES while endpoints are on it */
HRESULT HcnCloseNetwork(HCN_NETWORK network);

HRESULT HcnEnumerateEndpoints(const char *query, char **endpoints, char **errorRecord);
/* Reserves addresses; nothing is in the kernel before the endpoint is added to a namespace. */
HRESULT HcnCreateEndpoint(HCN_NETWORK network, const HCN_GUID *id, const char *settings, HCN_ENDPOINT *endpoint, char **errorRecord);
HRESULT HcnOpenEndpoint(const HCN_GUID *id, HCN_ENDPOINT *endpoint, char **errorRecord);
/* ResourceType "Policy" (Add/Remove/Update: port mappings, ACLs, QOS, names) */
HRESULT HcnModifyEndpoint(HCN_ENDPOINT endpoint, const char *settings, char **errorRecord);
HRESULT HcnQueryEndpointProperties(HCN_ENDPOINT endpoint, const char *query, char **properties, char **errorRecord);
/* {"BytesReceived":…,"BytesSent":…,"PacketsReceived":…,"PacketsSent":…,"DroppedPacketsIncoming":…,"DroppedPacketsOutgoing":…,"EndpointId":…} */
HRESULT HcnQueryEndpointStats(HCN_ENDPOINT endpoint, const char *query, char **statistics, char **errorRecord);
HRESULT HcnDeleteEndpoint(const HCN_GUID *id, char **errorRecord); /* detaches it first */
HRESULT HcnCloseEndpoint(HCN_ENDPOINT endpoint);

HRESULT HcnEnumerateNamespaces(const char *query, char **namespaces, char **errorRecord);
/* A network namespace of the kernel's: a new one (from the warm pool), or with {"Linux": {"ProcessId": pid}} that of a living process. It exists
 * as long as this object or a process in it does. */
HRESULT HcnCreateNamespace(const HCN_GUID *id, const char *settings, HCN_NAMESPACE *nspace, char **errorRecord);
HRESULT HcnOpenNamespace(const HCN_GUID *id, HCN_NAMESPACE *nspace, char **errorRecord);
/* {"ResourceType": "Endpoint", "RequestType": "Add"|"Remove", "Settings": {"EndpointId": id}}: makes and removes the interface, its addresses,
 * routes, port mappings and names. Add of an endpoint whose interface is there already (a service before us made it) takes it over.
 * {"ResourceType": "Dns", "RequestType": "Update", "Settings": the namespace's Dns}: the resolver begins, ends, or asks others. */
HRESULT HcnModifyNamespace(HCN_NAMESPACE nspace, const char *settings, char **errorRecord);
HRESULT HcnQueryNamespaceProperties(HCN_NAMESPACE nspace, const char *query, char **properties, char **errorRecord);
HRESULT HcnDeleteNamespace(const HCN_GUID *id, char **errorRecord); /* detaches its endpoints first; they go on existing */
HRESULT HcnCloseNamespace(HCN_NAMESPACE nspace);

HRESULT HcnEnumerateLoadBalancers(const char *query, char **loadBalancers, char **errorRecord);
HRESULT HcnCreateLoadBalancer(const HCN_GUID *id, const char *settings, HCN_LOADBALANCER *loadBalancer, char **errorRecord);
HRESULT HcnOpenLoadBalancer(const HCN_GUID *id, HCN_LOADBALANCER *loadBalancer, char **errorRecord);
HRESULT HcnModifyLoadBalancer(HCN_LOADBALANCER loadBalancer, const char *settings, char **errorRecord);
HRESULT HcnQueryLoadBalancerProperties(HCN_LOADBALANCER loadBalancer, const char *query, char **properties, char **errorRecord);
HRESULT HcnDeleteLoadBalancer(const HCN_GUID *id, char **errorRecord);
HRESULT HcnCloseLoadBalancer(HCN_LOADBALANCER loadBalancer);

HRESULT HcnRegisterServiceCallback(HCN_NOTIFICATION_CALLBACK callback, void *context, HCN_CALLBACK *handle);
HRESULT HcnUnregisterServiceCallback(HCN_CALLBACK handle); /* returns when no call of it runs any more */

/* Linux: the service lives in the engine's process and is opened once.
 * {"Instance": "caisson"           name of the nftables table and mark of our links; two services on a host need two
 *  "Firewall": true, "IPv4": true, "IPv6": true, "IpForward": true, "WarmNamespaces": 4,
 *  "IpForwardDrop": true            where the service switches forwarding on, it drops what is forwarded between networks that are not its own
 *  "Forwarded": ["IPv4", "IPv6"]    what an earlier life has switched on in this network namespace (cs_hcn_on_forwarding)
 *  "AllowDirectRouting": false      published ports can be reached at the containers' own addresses, too
 *  "BpfDirectory": "/run/caisson/bpf"  for a bpffs that is mounted while published ports need BPF programs, which stay when the service goes; none: they go with it
 *  "DefaultAddressPools": [{"Base": "172.17.0.0/16", "Size": 16}, …] (a family that is not mentioned keeps Docker's), "DnsServers": […], "ResolvConf": "/etc/resolv.conf"} ; all optional. */
HRESULT HcnInitializeService(const char *settings, char **errorRecord);
/* Stops the service's threads; networks and interfaces stay in the kernel. */
void HcnShutdownService(void);
void HcnFree(void *p);

#ifdef __cplusplus
}
#endif

/* ---- inside of Caisson ---- */
#if __has_include("base/banned.h")
#include "base/error.h"
#include "base/str.h"

/* The namespace's descriptor (nsfs), borrowed: valid while the handle is open and the namespace not deleted. -1 when it is gone. Asked for when the
 * first endpoint is in: an interface that was kept ready for it and that none has taken is removed. */
int cs_hcn_namespace_fd(HCN_NAMESPACE nspace);
/* Everything the caller knows has been created again: what bears our mark and belongs to nothing goes. The JSON says what was cleaned:
 * {"Links": [names]}; HcnFree. The firewall's tables are replaced as a whole: what they had of nobody is gone, uncounted. */
HRESULT cs_hcn_settle(char **cleaned);
/* Deleted endpoints' links go, and their addresses come back, behind the answer: this waits for those that were deleted before. */
void cs_hcn_flush(void);
/* Called before the service switches a family's forwarding on, from the thread that does. The caller remembers it for as long as this network
 * namespace lives, and gives it to the service's next life ("Forwarded"). Set it before HcnInitializeService. */
void cs_hcn_on_forwarding(void (*fn)(void *arg, bool v6), void *arg);
/* What can be reached from where, and which base chains of others stand in the way: JSON, see docs/firewall.md; HcnFree. */
HRESULT cs_hcn_reachability(char **report, char **errorRecord);
/* 0, or the errno for which BPF programs cannot be used: then ::1 of the host does not reach published ports of containers without an IPv6 address. */
int cs_hcn_loopback6_missing(void);
/* First 128 bits of a 64-hex-digit id as GUID, deterministic. false: not 64 hex digits. */
bool cs_hcn_guid_of(const char *hex64, HCN_GUID *ret);
#define CS_HCN_GUID_TEXT 37
void cs_hcn_guid_text(const HCN_GUID *id, char ret[CS_HCN_GUID_TEXT]);
bool cs_hcn_guid_parse(const char *text, HCN_GUID *ret);
#endif
