/* The send loop of a room: the same bytes to each of many members, straight to their sockets where that is safe.
 *
 * `chat/sockets/fanout.py` has the same loop in Python, which calls `write` of every member. Here a member's bytes pass by its
 * transport while that is idle. What the kernel does not take goes to the transport by `write`, as all bytes of a member
 * whose transport is not idle do, so nothing is overtaken and the bound on a member's backlog holds.
 *
 * Why a descriptor is never a stranger's: the transport owns it and says that it is closing before it closes it. That
 * is asked right before each send, in the thread of the event loop, with the GIL held, so nothing comes in between.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* A member's attribute `socket` (chat/sockets/member.py), or None for a member that only `write` will do for. */
enum { DESCRIPTOR, IS_CLOSING, UNSENT_BYTES, SOCKET_ITEMS };

typedef struct {
    PyObject *socket, *write; /* names of attributes */
} Names;

/* Whether an attribute or a call answered exactly False: 1, 0, or -1 with an exception. Takes the reference. */
static int is_false(PyObject *answer)
{
    if (answer == NULL)
        return -1;
    int no = answer == Py_False;
    Py_DECREF(answer);
    return no;
}

/* Whether a call answered the int zero: 1, 0, or -1 with an exception. Takes the reference. */
static int is_zero(PyObject *answer)
{
    if (answer == NULL)
        return -1;
    long number = PyLong_AsLong(answer);
    Py_DECREF(answer);
    if (number == -1 && PyErr_Occurred())
        return -1;
    return number == 0;
}

/* Whether bytes may be sent on the socket now: 1, 0, or -1 with an exception. */
static int is_idle(PyObject *socket)
{
    int idle = is_false(PyObject_CallNoArgs(PyTuple_GET_ITEM(socket, IS_CLOSING)));
    if (idle == 1)
        idle = is_zero(PyObject_CallNoArgs(PyTuple_GET_ITEM(socket, UNSENT_BYTES)));
    return idle;
}

/* send(2) without being a cancellation point of threads: here are none to cancel, and it would cost 3 % of the loop. */
static ssize_t send_at_once(int descriptor, const char *bytes, size_t size)
{
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#ifdef SYS_sendto
    return syscall(SYS_sendto, descriptor, bytes, size, flags, NULL, 0);
#else
    return send(descriptor, bytes, size, flags);
#endif
}

/* Send what the kernel takes at once. Answers the bytes sent, 0 if none could be, or -1 with an exception. Errors of the
 * socket count as nothing sent: the transport meets them itself in the `write` that follows, and closes as it does. */
static Py_ssize_t send_now(const Names *names, PyObject *member, const char *bytes, Py_ssize_t size)
{
    PyObject *socket = PyObject_GetAttr(member, names->socket);
    if (socket == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear(); /* a member of another kind */
        return 0;
    }
    Py_ssize_t sent = 0;
    if (PyTuple_CheckExact(socket) && PyTuple_GET_SIZE(socket) == SOCKET_ITEMS) {
        int idle = is_idle(socket);
        if (idle == 1) {
            int descriptor = (int)PyLong_AsLong(PyTuple_GET_ITEM(socket, DESCRIPTOR));
            if (descriptor == -1 && PyErr_Occurred())
                idle = -1;
            else
                do
                    sent = send_at_once(descriptor, bytes, (size_t)size);
                while (sent < 0 && errno == EINTR);
        }
        if (idle < 0 || sent < 0)
            sent = idle < 0 ? -1 : 0;
    }
    Py_DECREF(socket);
    return sent;
}

/* Have the member queue what was not sent: 0, or -1 with an exception. */
static int write_rest(const Names *names, PyObject *member, PyObject *blob, Py_ssize_t sent)
{
    PyObject *rest = blob;
    if (sent == 0)
        Py_INCREF(rest);
    else
        rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(blob) + sent, PyBytes_GET_SIZE(blob) - sent);
    if (rest == NULL)
        return -1;
    PyObject *answer = PyObject_CallMethodOneArg(member, names->write, rest);
    Py_DECREF(rest);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

PyDoc_STRVAR(broadcast_doc, "broadcast(members, blob, /)\n--\n\n"
                            "Give the bytes to each member (none of them twice), without waiting for anybody.");

static PyObject *broadcast(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    const Names *names = PyModule_GetState(module);
    if (count != 2 || !PyBytes_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "broadcast() takes a sequence of members and bytes");
        return NULL;
    }
    PyObject *members = PySequence_Fast(arguments[0], "broadcast() takes a sequence of members");
    if (members == NULL)
        return NULL;
    PyObject *blob = arguments[1];
    Py_ssize_t size = PyBytes_GET_SIZE(blob);
    int failed = 0;
    /* What a member does in `write` may change the list: its size and each item are looked at anew. */
    for (Py_ssize_t i = 0; !failed && i < PySequence_Fast_GET_SIZE(members); i++) {
        PyObject *member = PySequence_Fast_GET_ITEM(members, i);
        Py_INCREF(member);
        Py_ssize_t sent = send_now(names, member, PyBytes_AS_STRING(blob), size);
        if (sent < 0 || (sent < size && write_rest(names, member, blob, sent) < 0))
            failed = 1;
        Py_DECREF(member);
    }
    Py_DECREF(members);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* --- the module -------------------------------------------------------------------------------------------------- */

static int begin(PyObject *module)
{
    Names *names = PyModule_GetState(module);
    names->socket = PyUnicode_InternFromString("socket");
    names->write = PyUnicode_InternFromString("write");
    return names->socket && names->write ? 0 : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    Names *names = PyModule_GetState(module);
    Py_VISIT(names->socket);
    Py_VISIT(names->write);
    return 0;
}

static int clear(PyObject *module)
{
    Names *names = PyModule_GetState(module);
    Py_CLEAR(names->socket);
    Py_CLEAR(names->write);
    return 0;
}

static void end(void *module)
{
    clear(module);
}

static PyMethodDef methods[] = {
    {"broadcast", (PyCFunction)(void (*)(void))broadcast, METH_FASTCALL, broadcast_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)begin},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "chat.sockets._fanout",
    .m_doc = "The send loop of a room.",
    .m_size = sizeof(Names),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = end,
};

PyMODINIT_FUNC PyInit__fanout(void)
{
    return PyModuleDef_Init(&definition);
}
