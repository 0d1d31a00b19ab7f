/* What LLVM's unwinder calls where it was built for the GNU C library: the ordinary functions, with more checks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

int __vfprintf_chk(FILE *to, int flag, const char *format, va_list arguments)
{
	(void)flag;
	return vfprintf(to, format, arguments);
}

int __vsnprintf_chk(char *to, size_t most, int flag, size_t size, const char *format, va_list arguments)
{
	(void)flag;
	(void)size;
	return vsnprintf(to, most, format, arguments);
}
