/* SPDX-License-Identifier: Apache-2.0
 *
 * Host compute service: compute systems and processes, after Windows' computecore.dll.
 * Strings are UTF-8 and NUL-terminated; documents are JSON of the HCS v2 schema (docs/compute-documents.md lists the
 * Linux members). Results are HRESULT with the published values. Every asynchronous call takes an operation: S_OK means
 * accepted, the outcome comes from HcsWaitForOperationResult or the operation's callback.
 * Strings returned through `char **` belong to the caller: HcsFree().
 * Callbacks run on the service's own thread: they must not wait for an operation of the same system, and should be short.
 * Thread-safety: every function may be called from any thread; a handle must not be closed while another thread uses it. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t HRESULT;
typedef struct HcsSystem *HCS_SYSTEM;
typedef struct HcsProcess *HCS_PROCESS;
typedef struct HcsOperation *HCS_OPERATION;

#define HCS_S_OK ((HRESULT)0)
#define HCS_E_NOTIMPL ((HRESULT)0x80004001)
#define HCS_E_FAIL ((HRESULT)0x80004005)
#define HCS_E_INVALIDARG ((HRESULT)0x80070057)
#define HCS_E_OUTOFMEMORY ((HRESULT)0x8007000E)
#define HCS_E_NOT_SUPPORTED ((HRESULT)0x80070032)     /* Win32 50 */
#define HCS_E_ELEMENT_NOT_FOUND ((HRESULT)0x80070490) /* Win32 1168: process or system vanished */
#define HCS_E_DISK_FULL ((HRESULT)0x80070070)         /* Win32 112 */

#define HCS_E_TERMINATED_DURING_START ((HRESULT)0x80370100)
#define HCS_E_IMAGE_MISMATCH ((HRESULT)0x80370101)
#define HCS_E_HYPERV_NOT_INSTALLED ((HRESULT)0x80370102)
#define HCS_E_INVALID_STATE ((HRESULT)0x80370105)
#define HCS_E_UNEXPECTED_EXIT ((HRESULT)0x80370106)
#define HCS_E_TERMINATED ((HRESULT)0x80370107)
#define HCS_E_CONNECT_FAILED ((HRESULT)0x80370108)
#define HCS_E_CONNECTION_TIMEOUT ((HRESULT)0x80370109)
#define HCS_E_CONNECTION_CLOSED ((HRESULT)0x8037010A)
#define HCS_E_UNKNOWN_MESSAGE ((HRESULT)0x8037010B)
#define HCS_E_UNSUPPORTED_PROTOCOL_VERSION ((HRESULT)0x8037010C)
#define HCS_E_INVALID_JSON ((HRESULT)0x8037010D)
#define HCS_E_SYSTEM_NOT_FOUND ((HRESULT)0x8037010E)
#define HCS_E_SYSTEM_ALREADY_EXISTS ((HRESULT)0x8037010F)
#define HCS_E_SYSTEM_ALREADY_STOPPED ((HRESULT)0x80370110)
#define HCS_E_PROTOCOL_ERROR ((HRESULT)0x80370111)
#define HCS_E_INVALID_LAYER ((HRESULT)0x80370112)
#define HCS_E_SERVICE_NOT_AVAILABLE ((HRESULT)0x80370114)
#define HCS_E_OPERATION_NOT_STARTED ((HRESULT)0x80370115)
#define HCS_E_OPERATION_ALREADY_STARTED ((HRESULT)0x80370116)
#define HCS_E_OPERATION_PENDING ((HRESULT)0x80370117)
#define HCS_E_OPERATION_TIMEOUT ((HRESULT)0x80370118)
#define HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET ((HRESULT)0x80370119)
#define HCS_E_OPERATION_RESULT_ALLOCATION_FAILED ((HRESULT)0x8037011A)
#define HCS_E_ACCESS_DENIED ((HRESULT)0x8037011B)
#define HCS_E_GUEST_CRITICAL_ERROR ((HRESULT)0x8037011C)
#define HCS_E_PROCESS_INFO_NOT_AVAILABLE ((HRESULT)0x8037011D)
#define HCS_E_SERVICE_DISCONNECT ((HRESULT)0x8037011E)
#define HCS_E_PROCESS_ALREADY_STOPPED ((HRESULT)0x8037011F)

#define HCS_INFINITE 0xFFFFFFFFu

/* Words on the socket pair of a FollowLog (docs/compute-documents.md). */
#define HCS_FOLLOW_END 'E'   /* from the worker: everything is sent, and the log has ended with the system */
#define HCS_FOLLOW_UNTIL 'U' /* from the worker: everything that was asked for is sent */
#define HCS_FOLLOW_DONE 'D'  /* to the worker: the stream's end has been written, its socket is not the worker's any more */

typedef enum {
	HcsOperationTypeNone = -1,
	HcsOperationTypeEnumerate = 0,
	HcsOperationTypeCreate = 1,
	HcsOperationTypeStart = 2,
	HcsOperationTypeShutdown = 3,
	HcsOperationTypePause = 4,
	HcsOperationTypeResume = 5,
	HcsOperationTypeSave = 6,
	HcsOperationTypeTerminate = 7,
	HcsOperationTypeModify = 8,
	HcsOperationTypeGetProperties = 9,
	HcsOperationTypeCreateProcess = 10,
	HcsOperationTypeSignalProcess = 11,
	HcsOperationTypeGetProcessInfo = 12,
	HcsOperationTypeGetProcessProperties = 13,
	HcsOperationTypeModifyProcess = 14,
	HcsOperationTypeCrash = 15,
} HCS_OPERATION_TYPE;

typedef enum {
	HcsEventInvalid = 0,
	HcsEventSystemExited = 1, /* EventData: SystemExitStatus, see docs/compute-documents.md */
	HcsEventSystemCrashInitiated = 2,
	HcsEventSystemCrashReport = 3,
	HcsEventSystemGuestConnectionClosed = 6,
	HcsEventProcessExited = 0x00010000, /* EventData: ProcessStatus */
	HcsEventSystemOom = 0x00020001,     /* Linux: the kernel killed a process of the system for memory; no data */
	HcsEventProcessDetached = 0x00020002, /* Linux: a client left a process' terminal by its detach keys; data {"Id"} */
	HcsEventOperationCallback = 0x01000000,
	HcsEventServiceDisconnect = 0x02000000,
} HCS_EVENT_TYPE;

typedef enum {
	HcsEventOptionNone = 0,
	HcsEventOptionEnableOperationCallbacks = 1,
} HCS_EVENT_OPTIONS;

typedef enum {
	HcsResourceTypeNone = 0,
	HcsResourceTypeFile = 1,
	HcsResourceTypeJob = 2,
	HcsResourceTypeComObject = 3,
	HcsResourceTypeSocket = 4,
} HCS_RESOURCE_TYPE;

typedef struct {
	HCS_EVENT_TYPE Type;
	const char *EventData; /* JSON or NULL; borrowed for the call */
	HCS_OPERATION Operation;
} HCS_EVENT;

typedef struct {
	uint32_t ProcessId; /* host pid */
	uint32_t Reserved;
	int StdInput, StdOutput, StdError; /* descriptors owned by the caller, -1 when not requested */
} HCS_PROCESS_INFORMATION;

typedef void (*HCS_OPERATION_COMPLETION)(HCS_OPERATION operation, void *context);
typedef void (*HCS_EVENT_CALLBACK)(const HCS_EVENT *event, void *context);

/* Operations. One request per operation; reusable after completion. */
HCS_OPERATION HcsCreateOperation(void *context, HCS_OPERATION_COMPLETION callback); /* NULL when out of memory */
void HcsCloseOperation(HCS_OPERATION operation); /* legal in flight: the request goes on, its result is dropped */
void *HcsGetOperationContext(HCS_OPERATION operation);
HRESULT HcsSetOperationContext(HCS_OPERATION operation, void *context);
HCS_SYSTEM HcsGetComputeSystemFromOperation(HCS_OPERATION operation); /* borrowed */
HCS_PROCESS HcsGetProcessFromOperation(HCS_OPERATION operation);      /* borrowed */
HCS_OPERATION_TYPE HcsGetOperationType(HCS_OPERATION operation);
uint64_t HcsGetOperationId(HCS_OPERATION operation);
/* The results: on failure *resultDocument is a ResultError document {"Error":int,"ErrorMessage":text,...}; either may be NULL. */
HRESULT HcsGetOperationResult(HCS_OPERATION operation, char **resultDocument);
HRESULT HcsGetOperationResultAndProcessInfo(HCS_OPERATION operation, HCS_PROCESS_INFORMATION *info, char **resultDocument);
HRESULT HcsWaitForOperationResult(HCS_OPERATION operation, uint32_t timeoutMs, char **resultDocument);
HRESULT HcsWaitForOperationResultAndProcessInfo(HCS_OPERATION operation, uint32_t timeoutMs, HCS_PROCESS_INFORMATION *info,
						char **resultDocument);
HRESULT HcsSetOperationCallback(HCS_OPERATION operation, void *context, HCS_OPERATION_COMPLETION callback);
HRESULT HcsCancelOperation(HCS_OPERATION operation); /* HCS_E_NOTIMPL, as documented for Windows */
/* Hands a descriptor over with the request; the service owns it from here, also on failure of the request. */
HRESULT HcsAddResourceToOperation(HCS_OPERATION operation, HCS_RESOURCE_TYPE type, const char *uri, int descriptor);

/* Compute systems. */
HRESULT HcsEnumerateComputeSystems(const char *query, HCS_OPERATION operation);
HRESULT HcsCreateComputeSystem(const char *id, const char *configuration, HCS_OPERATION operation, void *securityDescriptor,
			       HCS_SYSTEM *computeSystem);
HRESULT HcsOpenComputeSystem(const char *id, uint32_t requestedAccess, HCS_SYSTEM *computeSystem);
void HcsCloseComputeSystem(HCS_SYSTEM computeSystem); /* the system runs on unless ShouldTerminateOnLastHandleClosed */
HRESULT HcsStartComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsShutDownComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsTerminateComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsCrashComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsPauseComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsResumeComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsSaveComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *options);
HRESULT HcsGetComputeSystemProperties(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *propertyQuery);
HRESULT HcsModifyComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, const char *configuration, void *identity);
HRESULT HcsWaitForComputeSystemExit(HCS_SYSTEM computeSystem, uint32_t timeoutMs, char **result);
HRESULT HcsSetComputeSystemCallback(HCS_SYSTEM computeSystem, HCS_EVENT_OPTIONS options, void *context,
				    HCS_EVENT_CALLBACK callback);

/* Processes. */
HRESULT HcsCreateProcess(HCS_SYSTEM computeSystem, const char *processParameters, HCS_OPERATION operation,
			 void *securityDescriptor, HCS_PROCESS *process);
HRESULT HcsOpenProcess(HCS_SYSTEM computeSystem, uint32_t processId, uint32_t requestedAccess, HCS_PROCESS *process);
void HcsCloseProcess(HCS_PROCESS process);
HRESULT HcsTerminateProcess(HCS_PROCESS process, HCS_OPERATION operation, const char *options);
HRESULT HcsSignalProcess(HCS_PROCESS process, HCS_OPERATION operation, const char *options);
HRESULT HcsGetProcessInfo(HCS_PROCESS process, HCS_OPERATION operation);
HRESULT HcsGetProcessProperties(HCS_PROCESS process, HCS_OPERATION operation, const char *propertyQuery);
HRESULT HcsModifyProcess(HCS_PROCESS process, HCS_OPERATION operation, const char *settings);
HRESULT HcsSetProcessCallback(HCS_PROCESS process, HCS_EVENT_OPTIONS options, void *context, HCS_EVENT_CALLBACK callback);
HRESULT HcsWaitForProcessExit(HCS_PROCESS process, uint32_t timeoutMs, char **result);

/* The service. */
HRESULT HcsGetServiceProperties(const char *propertyQuery, char **result);
HRESULT HcsModifyServiceSettings(const char *settings, char **result);

/* Linux: the service lives in the engine's process and is opened once with where it may keep things:
 * {"RuntimeDirectory": "/run/caisson", "Worker": "/usr/lib/caisson/caisson-worker", "CgroupParent": "/caisson"}.
 * It connects to the workers that outlived an earlier engine; those systems are then found by enumeration. */
HRESULT HcsInitializeService(const char *settings, char **result);
/* Stops the service's threads; compute systems run on. */
void HcsShutdownService(void);
void HcsFree(void *p);

#ifdef __cplusplus
}
#endif
